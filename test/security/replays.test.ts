import { randomUUID } from 'node:crypto';
import { expect } from 'chai';
import { Redis } from 'ioredis';
import { after, before } from 'mocha';
import { createLogger } from '../../common/logger.ts';
import { Queues } from '../../common/queues.ts';
import { closeRedis, createRedis, untilReady, type Redis as Commands } from '../../common/redis.ts';
import { eventually } from '../support/eventually.ts';
import { call, Player, type Answer } from '../support/player.ts';
import { useStores } from '../support/stores.ts';
import { startTier, useSystem } from '../support/system.ts';

const PARTITIONS = 8;

describe('replays', function () {
  this.timeout(60_000);
  const stores = useStores();
  const system = useSystem(stores, { api: 2, clientSigned: true });
  const api = (i = 0): string => system.api[i % 2]!.url;
  let producer: Commands;
  let queues: Queues;

  before(async () => {
    producer = createRedis(stores.redis.url, 'commands', createLogger('test', 'fatal'));
    await untilReady(producer, 5000);
    queues = new Queues(producer, PARTITIONS);
  });
  after(async () => {
    await queues.close();
    await closeRedis(producer);
  });

  const score = async (player: Player): Promise<number> =>
    (await call(api(), 'GET', '/leaderboards/global/users/me', { token: player.token })).body.score;
  const spent = async (): Promise<{ player: Player; action: any; result: any }> => {
    const player = await Player.join(api());
    const action = (await player.start(api())).body;
    const first = await player.complete(api(), action);
    expect(first.status).to.equal(200);
    return { player, action, result: first.body };
  };
  /** Refused with the first answer, and counted once. */
  const expectReplay = async (
    answer: Answer,
    { player, result }: { player: Player; result: unknown },
  ): Promise<void> => {
    expect([answer.status, answer.body.code]).to.deep.equal([409, 'ACTION_ALREADY_COMPLETED']);
    expect(answer.body.result).to.deep.equal(result);
    expect(await score(player)).to.equal(10);
  };

  it('one after another are each told the first answer', async () => {
    const once = await spent();
    for (let i = 0; i < 5; i += 1) await expectReplay(await once.player.complete(api(i), once.action), once);
  });

  it('50 at once over two instances count once', async () => {
    const player = await Player.join(api());
    const action = (await player.start(api())).body;
    const answers = await Promise.all(Array.from({ length: 50 }, (_, i) => player.complete(api(i), action)));
    const [first, ...others] = answers.filter(({ status }) => status === 200);
    expect(others).to.have.length(0);
    for (const { status, body } of answers.filter((answer) => answer !== first)) {
      expect(status).to.equal(409);
      expect(body.code).to.be.oneOf(['ACTION_IN_PROGRESS', 'ACTION_ALREADY_COMPLETED']);
    }
    await expectReplay(await player.complete(api(1), action), { player, result: first!.body });
  });

  it('count for nothing at an instance that was started since', async () => {
    const once = await spent();
    const fresh = await startTier('api', stores);
    try {
      await expectReplay(await once.player.complete(fresh.url, once.action), once);
    } finally {
      await fresh.stop();
    }
  });

  it('count for nothing once the job has left the queue', async () => {
    const once = await spent();
    await Promise.all(queues.partitions.map((queue) => queue.remove(once.action.actionId)));
    await expectReplay(await once.player.complete(api(), once.action), once);
    // Nor when what Redis knew of the action is gone as well.
    const redis = new Redis(stores.redis.url);
    try {
      await Promise.all(queues.partitions.map((queue) => queue.remove(once.action.actionId)));
      expect(await redis.del(`laurel:{${once.player.userId}}:action:${once.action.actionId}`)).to.equal(1);
    } finally {
      redis.disconnect();
    }
    await expectReplay(await once.player.complete(api(1), once.action), once);
  });

  it('count for nothing after FLUSHALL', async () => {
    const once = await spent();
    await stores.redis.flush();
    await expectReplay(await once.player.complete(api(), once.action), once);
    await eventually(async () => expect(await score(once.player)).to.equal(10), { timeoutMs: 15_000 });
  });

  describe('of client-signed completions', () => {
    const signed = (player: Player, actionId: string, timestamp: string, url = api()): Promise<Answer> =>
      player.completeSigned(url, actionId, { timestamp });
    const inSeconds = (seconds: number): string => new Date(Date.now() + seconds * 1000).toISOString();

    it('count once, in capitals too, and with a new signature', async () => {
      const player = await Player.join(api());
      const actionId = randomUUID();
      const answers = await Promise.all(
        Array.from({ length: 20 }, (_, i) =>
          signed(player, i % 3 === 0 ? actionId.toUpperCase() : actionId, inSeconds(-i), api(i)),
        ),
      );
      const counted = answers.filter(({ status }) => status === 200);
      expect(counted).to.have.length(1);
      expect(answers.filter(({ status }) => status === 409)).to.have.length(19);
      await expectReplay(await signed(player, actionId, inSeconds(0)), { player, result: counted[0]!.body });
    });

    it('count when they are almost five minutes old, or ahead', async () => {
      const player = await Player.join(api());
      expect((await signed(player, randomUUID(), inSeconds(-295))).status).to.equal(200);
      expect((await signed(player, randomUUID(), inSeconds(299))).status).to.equal(200);
    });

    it('end with their login', async () => {
      const player = await Player.join(api());
      expect((await signed(player, randomUUID(), inSeconds(0))).status).to.equal(200);
      const ended = await call(api(), 'POST', '/auth/logout', {
        body: { refreshToken: player.refreshToken },
      });
      expect(ended.status).to.equal(204);
      expect((await signed(player, randomUUID(), inSeconds(0), api(1))).body.code).to.equal(
        'SIGNATURE_INVALID',
      );
    });

    it('do not keep a started action from its own completion', async () => {
      const player = await Player.join(api());
      const thief = await Player.join(api());
      const action = (await player.start(api())).body;
      expect((await signed(thief, action.actionId, inSeconds(0))).body.code).to.equal('ACTION_ID_TAKEN');
      expect((await signed(player, action.actionId, inSeconds(0))).body.code).to.equal('ACTION_ID_TAKEN');
      expect((await player.complete(api(1), action)).status).to.equal(200);
    });
  });
});
