import { expect } from 'chai';
import { compare } from '../../bench/compare.ts';
import { endurance } from '../../bench/endurance.ts';
import { readOptions } from '../../bench/options.ts';
import { overload } from '../../bench/overload.ts';
import { renderReport } from '../../bench/report.ts';
import { soak } from '../../bench/soak.ts';
import { submit } from '../../bench/submit.ts';
import { describeNightly } from '../support/runs.ts';
import { useStores } from '../support/stores.ts';

describe('npm run bench -- submit --size smoke', () => {
  const stores = useStores();

  it('plays against Laurel and against the baseline, and proves both right', async function () {
    this.timeout(60_000);
    const report = await submit(readOptions(['submit', '--size', 'smoke']), {
      fromSources: true,
      urls: { databaseUrl: stores.databaseUrl, redisUrl: stores.redis.url },
    });
    expect(report.faults).to.deep.equal([]);
    const [rates] = report.tables;
    expect(rates?.rows.map(([name]) => name)).to.deep.equal([
      'Laurel',
      'Laurel at a quarter of that',
      'baseline, one process',
      'baseline, two processes',
      'baseline, two processes, 8 boards',
      'Laurel / the better baseline',
      'Laurel / baseline with 8 boards',
    ]);
    for (const [name, perSecond] of rates?.rows ?? [])
      expect(Number(String(perSecond).replace(',', '')), String(name)).to.be.above(0);
    expect(renderReport(report)).to.contain('| Laurel ');
  });
});

describeNightly('npm run bench -- fanout --soak --size smoke', () => {
  const stores = useStores();

  it('has clients come and go while they watch, and finds no frame missing', async function () {
    this.timeout(60_000);
    const report = await soak(readOptions(['fanout', '--soak', '--size', 'smoke']), {
      fromSources: true,
      urls: { databaseUrl: stores.databaseUrl, redisUrl: stores.redis.url },
    });
    expect(report.faults).to.deep.equal([]);
    const figures = Object.fromEntries(report.tables[0]?.rows ?? []) as Record<string, string>;
    expect(Number(figures['reconnections'])).to.be.above(0);
    expect(Number(figures['frames a second to each client'])).to.be.above(0);
    expect(Number(figures['RSS at the end, MB'])).to.be.above(0);
    expect(figures['growth, least squares, MB a minute']).to.match(/^-?[\d,.]+$/);
    expect(figures['errors']).to.equal('0');
  });
});

describeNightly('npm run bench -- overload --size smoke', () => {
  const stores = useStores();

  it('asks for twice of what was done, and proves what was acknowledged', async function () {
    this.timeout(60_000);
    const report = await overload(readOptions(['overload', '--size', 'smoke']), {
      fromSources: true,
      urls: { databaseUrl: stores.databaseUrl, redisUrl: stores.redis.url },
    });
    expect(report.faults).to.deep.equal([]);
    const [plays, refused] = report.tables;
    const [begun, acknowledged] = plays!.rows as [string, number, number][];
    expect(begun![2]).to.equal(2 * begun![1]);
    expect(acknowledged![2]).to.be.above(0);
    expect(refused?.rows.map(([name]) => name)).to.deep.equal([
      'anonymous_read',
      'other',
      'start',
      'signed_completion',
      'completion',
    ]);
  });
});

describeNightly('npm run bench -- endurance --size smoke', () => {
  const stores = useStores();

  it('plays on below the capacity, and says what grew', async function () {
    this.timeout(60_000);
    const report = await endurance(readOptions(['endurance', '--size', 'smoke']), {
      fromSources: true,
      urls: { databaseUrl: stores.databaseUrl, redisUrl: stores.redis.url },
    });
    expect(report.faults).to.deep.equal([]);
    const [, memory] = report.tables;
    expect(memory?.rows.map(([name]) => name)).to.include.members(['API', 'workers', 'Postgres', 'Redis']);
    for (const row of memory!.rows)
      for (const value of row.slice(1)) expect(value, String(row[0])).to.satisfy(Number.isFinite);
  });
});

describeNightly('npm run bench -- compare --size smoke', () => {
  const stores = useStores();
  const others = useStores();

  it('has two checkouts play in turns, and holds their figures against each other', async function () {
    this.timeout(60_000);
    const sides = [stores, others].map(({ databaseUrl, redis }) => [
      '--from-sources',
      ...['--database-url', databaseUrl, '--redis-url', redis.url],
    ]) as [string[], string[]];
    const report = await compare(readOptions(['compare', '--size', 'smoke', '--repeat', '2']), {
      args: sides,
    });
    expect(report.faults).to.deep.equal([]);
    const [rates] = report.tables[0]!.rows;
    expect(rates![0]).to.equal('completions/s');
    for (const cell of rates!.slice(1)) expect(Number(String(cell).replace(',', ''))).to.be.above(0);
  });
});

describe('npm run bench -- compare', () => {
  it('says what it needs', async () => {
    const nowhere = readOptions(['compare', '--size', 'smoke', '--against', '/nowhere']);
    const error: unknown = await compare(nowhere).catch((reason: unknown) => reason);
    expect(String(error)).to.contain('/nowhere is no checkout of Laurel that can be compared');
    expect(() => readOptions(['compare', '--save'])).to.throw('not saved');
  });
});
