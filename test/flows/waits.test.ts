import { expect } from 'chai';
import { Redis } from 'ioredis';
import { after, before } from 'mocha';
import { partitionOf, partitionQueue } from '../../common/queues.ts';
import { withDatabase } from '../faults/crowd.ts';
import { eventually } from '../support/eventually.ts';
import { call, Player, type Answer } from '../support/player.ts';
import { useStores } from '../support/stores.ts';
import { useSystem } from '../support/system.ts';

const PARTITIONS = 8;

describe('a completion that takes its time', function () {
  this.timeout(30_000);
  const stores = useStores();
  const system = useSystem(stores, {
    env: { COMPLETE_WAIT_MS: '2500', QUEUE_PARTITIONS: String(PARTITIONS) },
  });
  const api = (): string => system.api[0]!.url;
  let redis: Redis;
  before(() => {
    redis = new Redis(stores.redis.url);
  });
  after(() => redis.disconnect());

  /** Nothing is applied while the work is under way. */
  const whileNothingIsApplied = (work: () => Promise<void>): Promise<void> =>
    withDatabase(stores, (db) =>
      db.transaction(async (trx) => {
        await trx.raw('select lock_calendar()'); // as the close of a period does
        await work();
      }),
    );
  const read = (player: Player, actionId: string): Promise<Answer> =>
    call(api(), 'GET', `/actions/${actionId}`, { token: player.token });

  it('is answered 202, which says where to ask, and cannot be cancelled', async () => {
    const player = await Player.join(api());
    const { actionId, actionToken } = (await player.start(api())).body;
    await whileNothingIsApplied(async () => {
      const answer = await player.complete(api(), { actionId, actionToken }, { Prefer: 'respond-async' });
      expect(answer.status).to.equal(202);
      const statusUrl = `/api/v1/actions/${actionId}`;
      expect(answer.body).to.deep.equal({ actionId, status: 'queued', statusUrl });
      expect(answer.headers).to.include({ location: statusUrl, 'retry-after': '1' });
      expect((await call(api(), 'GET', `/${statusUrl}`, { token: player.token })).body.status).to.equal(
        'queued',
      );
      const cancelled = await call(api(), 'POST', `/actions/${actionId}/cancel`, { token: player.token });
      expect([cancelled.status, cancelled.body.code]).to.deep.equal([409, 'ACTION_IN_PROGRESS']);
    });
    await eventually(async () => expect((await read(player, actionId)).body.status).to.equal('completed'));
  });

  it('waits as long as its caller prefers', async () => {
    const preferences = ['wait=20', 'none', 'wait=1', 'respond-async'] as const;
    const started = await Promise.all(
      preferences.map(async (preference) => {
        const player = await Player.join(api());
        return { preference, player, action: (await player.start(api())).body };
      }),
    );
    const answered: string[] = [];
    let patient: Promise<Answer> | undefined;
    await whileNothingIsApplied(async () => {
      const answers = started.map(async ({ preference, player, action }) => {
        const answer = await player.complete(
          api(),
          action,
          preference === 'none' ? {} : { Prefer: preference },
        );
        answered.push(`${preference}: ${answer.status}`);
        return answer;
      });
      patient = answers[0];
      await Promise.all(answers.slice(1));
    });
    await patient;
    expect(answered).to.deep.equal(['respond-async: 202', 'wait=1: 202', 'none: 202', 'wait=20: 200']);
  });

  it('can be sent again at once when it could not be queued', async () => {
    const player = await Player.join(api());
    const action = (await player.start(api())).body;
    // The queue cannot number its jobs: a fault of this one partition, while Redis answers.
    const counter = `laurel:${partitionQueue(partitionOf(player.userId, PARTITIONS))}:id`;
    const number = await redis.get(counter);
    await redis.del(counter);
    await redis.lpush(counter, 'not a number');
    const refused = await player.complete(api(), action);
    expect([refused.status, refused.body.code]).to.deep.equal([503, 'UNAVAILABLE']);
    await redis.del(counter);
    if (number !== null) await redis.set(counter, number);
    expect((await player.complete(api(), action)).status).to.equal(200);
  });
});
