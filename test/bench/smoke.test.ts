import { expect } from 'chai';
import { readOptions } from '../../bench/options.ts';
import { renderReport } from '../../bench/report.ts';
import { soak } from '../../bench/soak.ts';
import { submit } from '../../bench/submit.ts';
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
      'baseline',
      'Laurel / baseline',
    ]);
    for (const [name, perSecond] of rates?.rows ?? [])
      expect(Number(String(perSecond).replace(',', '')), String(name)).to.be.above(0);
    expect(renderReport(report)).to.contain('| Laurel ');
  });
});

describe('npm run bench -- fanout --soak --size smoke', () => {
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
