import { expect } from 'chai';
import { Redis } from 'ioredis';
import { after, before } from 'mocha';
import { RedisNames } from '../../common/redis-names.ts';
import { boardAt } from '../../common/board/board.ts';
import { eventually } from '../support/eventually.ts';
import { call, Player, type Answer } from '../support/player.ts';
import { useStores } from '../support/stores.ts';
import { useSystem } from '../support/system.ts';
import { Listener } from '../live/viewers.ts';

const names = new RedisNames();
const board = boardAt('global', 'all', 0);
const [ranked, members] = [names.ranked(board), names.members(board)];
/** What another program may do within a few seconds of the looks at the boards, milliseconds. */
const PATIENCE = { timeoutMs: 10_000, everyMs: 100 };

describe('what somebody else writes into Redis', function () {
  this.timeout(60_000);
  const stores = useStores();
  const system = useSystem(stores, {
    realtime: 1,
    env: {
      RATE_LIMIT_COMPLETE_PER_MINUTE: '1000',
      RATE_LIMIT_START_PER_MINUTE: '1000',
      RATE_LIMIT_READ_PER_MINUTE: '1000',
      RATE_LIMIT_IP_PER_MINUTE: '10000',
    },
  });
  const api = (): string => system.api[0]!.url;
  let redis: Redis;
  let player: Player;

  before(async () => {
    redis = new Redis(stores.redis.url);
    player = await Player.join(api());
    expect((await player.play(api())).status).to.equal(200);
  });
  after(() => redis.disconnect());

  const page = (): Promise<Answer> => call(api(), 'GET', `/leaderboards/global?_=${Math.random()}`);

  /** That everything works again by itself: play, what it counts, and the board in Redis. */
  async function expectMended(): Promise<void> {
    await eventually(async () => {
      const answer = await player.play(api());
      expect(answer.status, JSON.stringify(answer.body)).to.equal(200);
      const { status, body } = await page();
      expect(status).to.equal(200);
      expect(body.version, 'read from Redis').to.be.above(0);
      expect(body.entries.map(({ userId }: { userId: string }) => userId)).to.deep.equal([player.userId]);
      expect(body.entries[0].score).to.equal(answer.body.score.current);
    }, PATIENCE);
  }

  const keys = (): [what: string, key: string][] => [
    ['a limit of a user', `${names.limits(player.userId)}:limit:complete`],
    ['a block of a user', `${names.limits(player.userId)}:block:play:until`],
    ['a limit of an address', `${names.limits('ip/127.0.0.1')}:limit:write`],
    ['open actions', names.openActions(player.userId)],
    ['the order of a board', ranked],
    ['the members of a board', members],
    ['who was at the top of a board', names.milestones(board)],
    ['the newest revision of users', names.newestUserRevision],
    ['what says that Redis is whole', names.kept],
    ['what says which run was reconciled', names.reconciledRun],
    ['connections of a user', names.connections(player.userId)],
  ];

  it('of another type than Laurel’s costs that key, and nothing else', async () => {
    for (const [what, key] of keys()) {
      for (const junk of ['a list', 'a text']) {
        await redis.del(key);
        if (junk === 'a list') await redis.rpush(key, 'junk');
        else await redis.set(key, 'junk');
        const listener = new Listener(system.realtime[0]!.url, player.token);
        await expectMended().catch((error: unknown) => {
          throw new Error(`${what}, as ${junk}`, { cause: error });
        });
        expect((await listener.handshake).code).to.equal('connected');
        listener.socket.disconnect();
      }
    }
    const { body } = await call(api(), 'GET', '//metrics');
    expect(Number(/^laurel_redis_keys_dropped_total\S* (\d+)$/m.exec(String(body))?.[1])).to.be.above(5);
  });

  for (const [what, ...command] of [
    ['an entry without a time', 'ZADD', ranked, '-99999', 'junk'],
    ['an endless score', 'ZADD', ranked, '-inf', '0199999999995stranger'],
    ['a broken score', 'ZADD', ranked, '-99999.5', '0199999999995stranger'],
    ['an entry without a user', 'ZADD', ranked, '-99999', '019999999999'],
    ['a version that is none', 'HSET', members, '~v', 'junk'],
    ['a version that is too large', 'HSET', members, '~v', '1e400'],
    ['a time of change that is none', 'HSET', members, '~u', 'junk'],
  ] as [string, ...string[]][]) {
    it(`is never shown as a board, nor in its way: ${what}`, async () => {
      const [name = '', ...args] = command;
      await redis.call(name, ...args);
      const { status, body } = await page();
      expect(status).to.equal(200);
      expect(body.entries.map(({ userId }: { userId: string }) => userId)).to.deep.equal([player.userId]);
      const listener = new Listener(system.realtime[0]!.url);
      try {
        expect((await listener.handshake).code).to.equal('connected');
        const joined = await listener.ask('join:leaderboard', { leaderboard: 'global' });
        expect(joined.snapshot.entries).to.have.length(1);
      } finally {
        listener.socket.disconnect();
      }
      await expectMended();
    });
  }
});
