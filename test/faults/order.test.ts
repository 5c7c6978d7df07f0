import { setTimeout as delay } from 'node:timers/promises';
import { expect } from 'chai';
import { after, before } from 'mocha';
import { Redis } from '../../common/redis.ts';
import { call } from '../support/player.ts';
import { useStores } from '../support/stores.ts';
import { useSystem } from '../support/system.ts';
import { Crowd } from './crowd.ts';

const USERS = 200;
const EACH = 10;
const PARTITIONS = 4;

describe('one user, one line: three worker processes, two APIs, 2,000 completions at once', function () {
  this.timeout(120_000);
  const stores = useStores();
  const system = useSystem(stores, {
    api: 2,
    workers: 3,
    processes: true,
    env: { QUEUE_PARTITIONS: String(PARTITIONS) },
  });
  let redis: Redis | undefined;
  before(() => void (redis = new Redis(stores.redis.url)));
  after(() => redis?.disconnect());

  it('applies each user’s completions in the order of acceptance, one job of a partition at a time', async () => {
    const crowd = await Crowd.of(USERS, stores);
    const apis = system.api.map(({ url }) => url);

    // Looks at the partitions' active jobs all the while.
    const most = new Map<number, number>();
    let looks = 0;
    let over = false;
    const watching = (async () => {
      while (!over) {
        const pipeline = redis!.pipeline();
        for (let p = 0; p < PARTITIONS; p += 1) pipeline.llen(`laurel:completions-${p}:active`);
        const lengths = (await pipeline.exec()) ?? [];
        lengths.forEach(([, length], p) => most.set(p, Math.max(most.get(p) ?? 0, Number(length))));
        looks += 1;
        await delay(3);
      }
    })();

    // A user sends the next completion as soon as the one before is accepted, not applied, and by turns to either API.
    await Promise.all(
      crowd.userIds.map(async (userId) => {
        for (let n = 0; n < EACH; n += 1)
          await crowd.playOne(apis[n % 2]!, userId, { Prefer: 'respond-async' });
      }),
    );
    expect(crowd.statuses).to.include(202);
    await crowd.expectAgreement(60_000);
    over = true;
    await watching;
    expect(looks).to.be.above(100);
    expect([...most.values()]).to.deep.equal(Array(PARTITIONS).fill(1));

    const board = await call(apis[1]!, 'GET', '/leaderboards/game1?limit=100');
    expect(board.body.total).to.equal(USERS);
    for (const entry of board.body.entries) expect(entry.score).to.equal(10 * EACH);
  });

  it('has more than one process take part', async () => {
    const figures = await Promise.all(
      system.workers.map(async ({ url }) => (await call(url, 'GET', '//metrics')).body as string),
    );
    const worked = figures.filter((text) =>
      /laurel_jobs_total\{[^}]*queue="completions-\d"[^}]*\} [1-9]/.test(text),
    );
    expect(worked.length).to.be.above(1);
  });

  it('gives completions of one user that race each other a gapless chain, and each its own answer', async () => {
    const crowd = await Crowd.of(30, stores, 'racer');
    const played = await Promise.all(
      crowd.userIds.map((userId) =>
        Promise.all(Array.from({ length: 8 }, (_, n) => crowd.playOne(system.api[n % 2]!.url, userId))),
      ),
    );
    for (const answers of played) {
      const totals = answers.map(({ body }) => body.score.current as number).sort((a, b) => a - b);
      expect(totals).to.deep.equal(Array.from({ length: 8 }, (_, i) => 10 * (i + 1)));
    }
    // Told in the order of their totals, the log must be the ledger.
    crowd.log.sort((a, b) => a.body.score.current - b.body.score.current);
    await crowd.expectAgreement();
  });
});
