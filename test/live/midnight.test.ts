import { expect } from 'chai';
import { after, before } from 'mocha';
import { io } from 'socket.io-client';
import { LaurelClient, type TransportName } from '../../client/index.ts';
import { BoardIndex } from '../../common/board/board-index.ts';
import { boardAt } from '../../common/board/board.ts';
import { createLogger } from '../../common/logger.ts';
import { spanOf } from '../../common/periods.ts';
import { createDatabase, type Database } from '../../common/postgres.ts';
import { Queues, type CompletionJob } from '../../common/queues.ts';
import { closeRedis, createRedis, untilReady, type Redis } from '../../common/redis.ts';
import { useClock } from '../support/clock.ts';
import { eventually } from '../support/eventually.ts';
import { testSignatures } from '../support/jobs.ts';
import { call, Player } from '../support/player.ts';
import { useStores } from '../support/stores.ts';
import { useSystem } from '../support/system.ts';
import { Listener, Stream } from './viewers.ts';

const MINUTE_MS = 60_000;
const patience = { timeoutMs: 15_000 };
/** Days and weeks end here alike. */
const midnight = spanOf('weekly', Date.now()).endsAt!;
const turning = ['daily', 'weekly'] as const;
type Turning = (typeof turning)[number];

/** What somebody shows of a board. */
interface Viewer {
  readonly name: string;
  readonly board: () => any;
  /** the board was not the one that a frame follows on */
  readonly gaps?: () => number;
}

/** The board of a client that is no more than the lines of docs/realtime.md: it takes what follows on what it has. */
function follow(snapshot: any, frames: readonly any[]): { board: any; gaps: number } {
  let board = snapshot;
  let gaps = 0;
  for (const frame of frames) {
    if (!board || frame.version <= board.version) continue;
    if (frame.previousVersion !== board.version) gaps += 1;
    board = { ...board, version: frame.version, entries: frame.entries };
  }
  return { board, gaps };
}

describe('midnight', () => {
  const clock = useClock();
  before(() => clock.set(midnight - 10 * MINUTE_MS));
  const stores = useStores();
  const system = useSystem(stores, { realtime: 1 });
  const api = (): string => system.api[0]!.url;
  const live = (): string => system.realtime[0]!.url;
  const viewers: Record<Turning, Viewer[]> = { daily: [], weekly: [] };
  const close: (() => unknown)[] = [];
  let db: Database;
  let redis: Redis;
  let queues: Queues;

  before(async () => {
    db = createDatabase({ DATABASE_URL: stores.databaseUrl, DATABASE_POOL_MAX: 2 }, 'test');
    redis = createRedis(stores.redis.url, 'commands', createLogger('test', 'silent'));
    await untilReady(redis, 5000);
    queues = new Queues(redis, 8);
  });
  after(async () => {
    await Promise.all(close.map((end) => end()));
    await queues.close();
    await closeRedis(redis);
    await db.destroy();
  });

  /** An action that was accepted at an instant: the stores, which have clocks of their own, are not asked for it. */
  async function acceptedAt(player: Player, at: number): Promise<void> {
    const started = await player.start(api(), 'COMPLETE_TASK', 'game1');
    const [row] = await db('actions').where({ id: started.body.actionId }).select('token_hash');
    await queues.enqueueCompletion(
      testSignatures.sign<CompletionJob>({
        kind: 'completion',
        actionId: started.body.actionId,
        userId: player.userId,
        acceptedAt: at,
        tokenHash: row.token_hash.toString('hex'),
        ip: null,
        userAgent: null,
        replyTo: 'test',
      }),
    );
  }

  /** Watches a board by every way there is, with the SDK and without. */
  async function watch(period: Turning): Promise<void> {
    for (const transport of ['socket', 'sse', 'polling'] satisfies TransportName[]) {
      const client = new LaurelClient({
        baseUrl: api(),
        realtimeUrl: live(),
        transports: [transport],
        io: io as never,
        watch: { pollMs: 200 },
      });
      close.push(() => client.close());
      const watcher = client.watch('game1', { period });
      viewers[period].push({ name: `SDK, ${transport}, ${period}`, board: () => watcher.board });
    }
    const listener = new Listener(live());
    close.push(() => listener.socket.disconnect());
    const { snapshot } = await listener.ask('join:leaderboard', { leaderboard: 'game1', period });
    const heard = () => follow(snapshot, listener.of('leaderboard:update'));
    const stream = await Stream.open(live(), `/leaderboards/game1/stream?period=${period}`);
    close.push(() => stream.close());
    const read = () => {
      const [first, ...frames] = stream.events.map(({ data }) => JSON.parse(data));
      return follow(first, frames);
    };
    for (const [kind, now] of [
      ['socket', heard],
      ['stream', read],
    ] as const)
      viewers[period].push({
        name: `bare ${kind}, ${period}`,
        board: () => now().board,
        gaps: () => now().gaps,
      });
  }

  /** Waits until everybody shows these players, in order. */
  const show = async (...players: readonly [Player, number][]): Promise<void> => {
    const expected = players.map(([{ userId }, score]) => `${userId} ${score}`);
    await eventually(() => {
      for (const { name, board } of turning.flatMap((period) => viewers[period]))
        expect(
          board()?.entries.map(({ userId, score }: any) => `${userId} ${score}`),
          name,
        ).to.deep.equal(expected);
    }, patience);
  };
  const versions = (): number[] =>
    turning.flatMap((period) => viewers[period].map(({ board }) => board().version));

  it('gives those who watch a day or a week the next one’s board, in whatever way they watch', async () => {
    const [ann, bob] = [await Player.join(api()), await Player.join(api())];
    await Promise.all(turning.map(watch));
    // Late in the evening the next boards are there already; these go on counting.
    const index = new BoardIndex(redis);
    for (const board of turning.map((period) => boardAt('game1', period, Date.now()))) {
      for (let i = 1; i <= 300; i += 1)
        await index.apply([
          { board, steps: [{ userId: ann.userId, score: 1 + (i % 2), reachedAt: board.startsAt + i }] },
        ]);
    }
    await acceptedAt(ann, midnight - 5 * MINUTE_MS);
    await show([ann, 10]);
    const before = versions();

    clock.set(midnight + 10);
    await show();
    versions().forEach((version, i) => expect(version).to.be.above(before[i]!));
    // The SDK also says which day or week it is.
    await eventually(() => {
      for (const { name, board } of turning.flatMap((period) => viewers[period].slice(0, 3)))
        expect(board(), name).to.include({ periodStart: new Date(midnight).toISOString(), total: 0 });
    }, patience);

    // What was accepted yesterday counts there, however late it is applied.
    await acceptedAt(ann, midnight - 1);
    await acceptedAt(bob, midnight);
    await show([bob, 10]);
    await acceptedAt(ann, midnight + 1);
    await show([bob, 10], [ann, 10]);
    for (const period of turning) {
      const { body } = await call(api(), 'GET', `/leaderboards/game1?period=${period}`);
      for (const { name, board, gaps } of viewers[period]) {
        expect(board().version, name).to.equal(body.version);
        expect(gaps?.() ?? 0, `${name}: gaps`).to.equal(0);
      }
    }
  });
});
