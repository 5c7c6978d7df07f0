import { expect } from 'chai';
import { after, afterEach } from 'mocha';
import { io, type Socket } from 'socket.io-client';
import { eventually } from '../support/eventually.ts';
import { call, Player } from '../support/player.ts';
import { useStores } from '../support/stores.ts';
import { startTier, useSystem, type RunningTier } from '../support/system.ts';

interface Frame {
  readonly leaderboard: string;
  readonly version: number;
  readonly previousVersion: number;
  readonly total: number;
  readonly changes: readonly {
    userId: string;
    oldRank: number | null;
    newRank: number;
    score: number;
    delta: number;
  }[];
  readonly entries: readonly { rank: number; userId: string; score: number }[];
}

/** One connection, and every frame it has received. */
class Viewer {
  readonly socket: Socket;
  readonly frames: Frame[] = [];
  readonly refused: Promise<string>;

  constructor(url: string, auth: object = {}, headers: Record<string, string> = {}) {
    this.socket = io(url, {
      transports: ['websocket'],
      forceNew: true,
      reconnection: false,
      auth,
      extraHeaders: headers,
    });
    this.socket.on('leaderboard:update', (frame: Frame) => this.frames.push(frame));
    this.refused = new Promise((resolve) => {
      this.socket.once('connect_error', (error: Error & { data?: { code?: string } }) =>
        resolve(error.data?.code ?? error.message),
      );
      this.socket.once('connect', () => resolve('connected'));
    });
  }

  ask(event: string, ...payload: unknown[]): Promise<any> {
    return this.socket.timeout(5_000).emitWithAck(event, ...payload);
  }

  join(leaderboard: string, period?: string): Promise<any> {
    return this.ask('join:leaderboard', { leaderboard, ...(period !== undefined && { period }) });
  }

  /** The frames so far, once one fits. */
  until(fits: (frame: Frame) => boolean): Promise<Frame[]> {
    return eventually(() => {
      expect(this.frames.some(fits), `${JSON.stringify(this.frames)} has the frame`).to.equal(true);
      return this.frames;
    });
  }
}

const holds = (userId: string, score: number) => (frame: Frame) =>
  frame.entries.some((entry) => entry.userId === userId && entry.score === score);

describe('live boards', () => {
  const stores = useStores();
  const system = useSystem(stores, { api: 2, realtime: 2, env: { BROADCAST_WINDOW_MS: '300' } });
  const api = (i = 0): string => system.api[i]!.url;
  const extra: RunningTier[] = [];
  const viewers: Viewer[] = [];
  const watch = (i = 0, auth?: object, headers?: Record<string, string>): Viewer => {
    const viewer = new Viewer(system.realtime[i]?.url ?? extra[0]!.url, auth, headers);
    viewers.push(viewer);
    return viewer;
  };

  afterEach(() => {
    for (const { socket } of viewers.splice(0)) socket.disconnect();
  });
  after(() => Promise.all(extra.map((tier) => tier.stop())));

  it('shows a completion through either API to the watchers at every instance, each frame linked to the one before', async () => {
    const player = await Player.join(api());
    await player.play(api(), 'COMPLETE_TASK', 'game1');
    const [first, second] = [watch(0), watch(1)];
    const joined = await eventually(async () => {
      const answers = await Promise.all([first.join('game1'), second.join('game1')]);
      for (const { ok, snapshot } of answers) {
        expect(ok).to.equal(true);
        expect(snapshot).to.include({ leaderboard: 'game1', period: 'all', total: 1 });
        expect(snapshot.entries[0]).to.include({ rank: 1, userId: player.userId, score: 10 });
      }
      return answers;
    });
    for (const [i, score] of [
      [1, 60],
      [0, 110],
    ] as const) {
      expect((await player.play(api(i), 'COMPLETE_QUEST', 'game1')).status).to.equal(200);
      await Promise.all([first, second].map((viewer) => viewer.until(holds(player.userId, score))));
    }
    const board = await eventually(async () => {
      const { body } = await call(api(), 'GET', '/leaderboards/game1');
      expect(body.entries[0].score).to.equal(110);
      return body;
    });
    for (const [i, { frames }] of [first, second].entries()) {
      let version = joined[i].snapshot.version as number;
      for (const frame of frames) {
        expect(frame).to.include({ type: 'LEADERBOARD_REFRESH', leaderboard: 'game1', period: 'all' });
        expect(frame.previousVersion).to.equal(version);
        expect(frame.version).to.be.above(version);
        ({ version } = frame);
      }
      expect(version).to.equal(board.version);
      expect(frames.at(-1)!.changes).to.deep.equal([
        {
          userId: player.userId,
          username: player.username,
          oldRank: 1,
          newRank: 1,
          score: 110,
          delta: 50,
        },
      ]);
      expect(frames.at(-1)!.entries).to.deep.equal(board.entries);
    }
  });

  it('tells what several changes within one window add up to, relative to the frame before', async () => {
    const [ann, bob, cid] = await Promise.all([Player.join(api()), Player.join(api()), Player.join(api())]);
    for (const [player, type] of [
      [ann!, 'COMPLETE_MISSION'],
      [bob!, 'COMPLETE_QUEST'],
      [cid!, 'COMPLETE_TASK'],
    ] as const) {
      await player.play(api(), type, 'game2');
    }
    const viewer = watch();
    await eventually(async () => {
      const { snapshot } = await viewer.join('game2');
      expect(snapshot.entries.map(({ score }: { score: number }) => score)).to.deep.equal([100, 50, 10]);
    });
    // The newest pass each other on the way: cid to 110, then bob to 150, then cid to 210.
    const starts = await Promise.all([
      cid!.start(api(), 'COMPLETE_MISSION', 'game2'),
      bob!.start(api(), 'COMPLETE_MISSION', 'game2'),
      cid!.start(api(), 'COMPLETE_MISSION', 'game2'),
    ]);
    // A change after a quiet time goes out at once; the window begins with it.
    await ann!.play(api(), 'COMPLETE_TASK', 'game2');
    await viewer.until(holds(ann!.userId, 110));
    viewer.frames.length = 0;
    for (const [i, player] of [cid!, bob!, cid!].entries()) {
      expect((await player.complete(api(i % 2), starts[i]!.body)).status).to.equal(200);
    }
    const frames = await viewer.until(holds(cid!.userId, 210));
    expect(frames).to.have.length(1);
    expect(frames[0]!.changes).to.deep.equal([
      { userId: cid!.userId, username: cid!.username, oldRank: 3, newRank: 1, score: 210, delta: 200 },
      { userId: bob!.userId, username: bob!.username, oldRank: 2, newRank: 2, score: 150, delta: 100 },
    ]);
    expect(frames[0]!.entries.map(({ userId, rank }) => [userId, rank])).to.deep.equal([
      [cid!.userId, 1],
      [bob!.userId, 2],
      [ann!.userId, 3],
    ]);
  });

  it('sends nothing for a completion that leaves the top 10 as it was', async () => {
    const players = await Promise.all(Array.from({ length: 11 }, () => Player.join(api())));
    const [last, ...leaders] = players as [Player, ...Player[]];
    await Promise.all(leaders.map((player) => player.play(api(), 'COMPLETE_MISSION', 'game1')));
    await last.play(api(), 'COMPLETE_TASK', 'game1');
    const viewer = watch(1);
    const before = await eventually(async () => {
      const { snapshot } = await viewer.join('game1');
      expect(snapshot.total).to.be.least(11);
      expect(snapshot.entries).to.have.length(10);
      expect(snapshot.entries.some(({ userId }: { userId: string }) => userId === last.userId)).to.equal(
        false,
      );
      return snapshot;
    });
    viewer.frames.length = 0;
    const played = await last.play(api(), 'COMPLETE_TASK', 'game1');
    expect(played.body.score.current).to.equal(20);
    // What would have been sent for it would come before, or with, this one.
    await leaders[0]!.play(api(), 'COMPLETE_TASK', 'game1');
    const frames = await viewer.until(holds(leaders[0]!.userId, 110));
    expect(frames).to.have.length(1);
    expect(frames[0]).to.include({ previousVersion: before.version, version: before.version + 1 });
    expect(frames[0]!.changes.map(({ userId }) => userId)).to.deep.equal([leaders[0]!.userId]);
  });

  it('says in every frame how many are on the board, also below the top 10', async () => {
    const viewer = watch();
    const { snapshot } = await viewer.join('game1');
    expect(snapshot.entries).to.have.length(10);
    const [low, high] = await Promise.all([Player.join(api()), Player.join(api())]);
    await low!.play(api(), 'COMPLETE_TASK', 'game1');
    await high!.play(api(), 'COMPLETE_MISSION', 'game1');
    await high!.play(api(), 'COMPLETE_MISSION', 'game1');
    const frames = await viewer.until(holds(high!.userId, 200));
    expect(frames.at(-1)!.total).to.equal(snapshot.total + 2);
  });

  it('tells those who join an open board how many are on it by now', async () => {
    const viewer = watch();
    const { snapshot } = await viewer.join('game1');
    const newcomer = await Player.join(api());
    await newcomer.play(api(), 'COMPLETE_TASK', 'game1');
    await eventually(async () =>
      expect((await watch().join('game1')).snapshot.total).to.equal(snapshot.total + 1),
    );
  });

  it('sends a player’s own updates to that player and to spectators only', async () => {
    const [player, stranger] = await Promise.all([Player.join(api()), Player.join(api())]);
    const own = watch(0, { token: player!.token });
    const spectator = watch(1);
    const other = watch(0, { token: stranger!.token });
    const heard: [string, any][] = [];
    for (const [name, { socket }] of Object.entries({ own, spectator, other })) {
      socket.on('score:update', (event: unknown) => heard.push([name, event]));
    }
    expect(await spectator.ask('spectate:user', { userId: player!.userId })).to.deep.equal({ ok: true });
    await Promise.all([own.join('game2'), other.join('game2')]);
    const { body } = await player!.play(api(), 'COMPLETE_TASK', 'game2');
    await stranger!.play(api(), 'COMPLETE_TASK', 'game2');
    await eventually(() =>
      expect(heard.map(([name]) => name)).to.have.members(['own', 'spectator', 'other']),
    );
    expect(heard.find(([name]) => name === 'spectator')![1]).to.deep.equal({
      type: 'SCORE_CHANGED',
      userId: player!.userId,
      username: player!.username,
      leaderboard: 'game2',
      score: 10,
      delta: 10,
      oldRank: null,
      newRank: body.rank.current,
      timestamp: body.completedAt,
    });
    expect(heard.find(([name]) => name === 'other')![1].userId).to.equal(stranger!.userId);
  });

  it('acknowledges requests, and says by code what is wrong with one', async () => {
    const viewer = watch();
    for (const [event, payload, code] of [
      ['join:leaderboard', { leaderboard: 'nosuch' }, 'LEADERBOARD_NOT_FOUND'],
      ['join:leaderboard', { leaderboard: 'Global' }, 'LEADERBOARD_NOT_FOUND'],
      ['join:leaderboard', { leaderboard: 'global', period: 'yearly' }, 'INVALID_REQUEST'],
      ['join:leaderboard', { leaderboard: ['global'] }, 'INVALID_REQUEST'],
      ['join:leaderboard', { leaderboard: 'global', also: 1 }, 'INVALID_REQUEST'],
      ['join:leaderboard', 'global', 'INVALID_REQUEST'],
      ['join:leaderboard', null, 'INVALID_REQUEST'],
      ['join:leaderboard', undefined, 'INVALID_REQUEST'],
      ['leave:leaderboard', {}, 'INVALID_REQUEST'],
      ['spectate:user', { userId: 'nobody-knows-me' }, 'USER_NOT_FOUND'],
      ['spectate:user', { userId: '../etc' }, 'INVALID_REQUEST'],
      ['leaderboard:update', { leaderboard: 'global' }, 'INVALID_REQUEST'],
      ['__proto__', {}, 'INVALID_REQUEST'],
    ] as const) {
      expect(await viewer.ask(event, payload), `${event} ${JSON.stringify(payload)}`).to.deep.equal({
        ok: false,
        code,
      });
    }
    expect(await viewer.ask('join:leaderboard')).to.deep.equal({ ok: false, code: 'INVALID_REQUEST' });
    viewer.socket.emit('join:leaderboard', { leaderboard: 1 }); // nobody waits for the answer
    viewer.socket.emit('leave:leaderboard');
    expect((await viewer.join('global', 'daily')).snapshot).to.include({
      leaderboard: 'global',
      period: 'daily',
    });
  });

  it('sends nothing more once a board is left', async () => {
    const player = await Player.join(api());
    const [gone, stays] = [watch(), watch()];
    await Promise.all([gone.join('game2', 'weekly'), stays.join('game2', 'weekly')]);
    expect(await gone.ask('leave:leaderboard', { leaderboard: 'game2', period: 'weekly' })).to.deep.equal({
      ok: true,
    });
    gone.frames.length = 0;
    await player.play(api(), 'COMPLETE_TASK', 'game2');
    await stays.until(holds(player.userId, 10));
    await gone.join('global'); // a round trip on the same connection: a frame would have come before the answer
    expect(gone.frames).to.deep.equal([]);
  });

  it('refuses a bad token, a foreign page, and an anonymous client where boards are not public', async () => {
    const player = await Player.join(api());
    for (const token of ['nonsense', `${player.token}x`, player.refreshToken]) {
      expect(await watch(0, { token }).refused).to.equal('UNAUTHENTICATED');
    }
    expect(await watch(0, { token: { $ne: 1 } }).refused).to.equal('UNAUTHENTICATED');
    const unknown = watch(0, {}, { origin: 'https://evil.example' });
    expect(await unknown.refused).not.to.equal('connected');
    expect(unknown.socket.connected).to.equal(false);
    expect(await watch(0, {}, { origin: system.realtime[0]!.url }).refused).to.equal('connected');
    expect(await watch(0, { token: player.token }).refused).to.equal('connected');
    expect(await watch(0).refused).to.equal('connected');

    extra.push(
      await startTier('realtime', stores, {
        PUBLIC_READS: 'false',
        CORS_ORIGINS: 'https://game.example',
      }),
    );
    const listed = { origin: 'https://game.example' };
    expect(await watch(9).refused).to.equal('UNAUTHENTICATED');
    expect(await watch(9, { token: player.token }, listed).refused).to.equal('connected');
  });
});
