import { expect } from 'chai';
import { afterEach, before } from 'mocha';
import { createDatabase } from '../../common/postgres.ts';
import { eventually } from '../support/eventually.ts';
import { Player } from '../support/player.ts';
import { useStores } from '../support/stores.ts';
import { useSystem } from '../support/system.ts';
import { Listener } from './viewers.ts';

describe('watchers', function () {
  this.timeout(60_000);
  const stores = useStores();
  const system = useSystem(stores, {
    realtime: 1,
    env: { BROADCAST_WINDOW_MS: '1000' },
  });
  const api = (): string => system.api[0]!.url;
  const live = (): string => system.realtime[0]!.url;
  const listeners: Listener[] = [];
  let first: Player;

  before(async () => {
    first = await Player.join(api());
  });
  afterEach(() => {
    for (const { socket } of listeners.splice(0)) socket.disconnect();
  });
  const connect = async (who?: Player): Promise<Listener> => {
    const listener = new Listener(live(), who?.token);
    listeners.push(listener);
    expect(await listener.handshake).to.deep.equal({ code: 'connected' });
    return listener;
  };
  const join = (one: Listener) => one.ask('join:leaderboard', { leaderboard: 'global' });
  const frames = (one: Listener) => one.of('leaderboard:update');

  it('hear the sum of what a newcomer gained within a window', async () => {
    const newcomer = await Player.join(api());
    const watcher = await connect();
    await join(watcher);
    // The first change goes out at once, and opens a window.
    await first.play(api());
    await eventually(() => expect(frames(watcher)).to.have.length(1));
    await newcomer.play(api());
    await newcomer.play(api(), 'COMPLETE_QUEST');
    await newcomer.play(api(), 'COMPLETE_TASK');
    const told = await eventually(() => {
      const changes = frames(watcher)
        .slice(1)
        .flatMap(
          (frame) => frame.changes as { userId: string; delta: number; newRank: number; score: number }[],
        );
      expect(changes.map(({ score }) => score)).to.include(70);
      return changes.filter(({ userId }) => userId === newcomer.userId);
    });
    expect(told.reduce((sum, { delta }) => sum + delta, 0)).to.equal(70);
  });

  it('who join within a window get the state of the last frame, on which the next one follows', async () => {
    const watcher = await connect();
    await join(watcher);
    await first.play(api());
    await eventually(() => expect(frames(watcher)).not.to.be.empty);
    await first.play(api());
    const joiner = await connect();
    const { snapshot } = await join(joiner);
    await eventually(() => expect(frames(joiner)).not.to.be.empty);
    expect(frames(joiner)[0].previousVersion).to.equal(snapshot.version);
    expect(frames(joiner)[0].version).to.be.above(snapshot.version as number);
  });

  it('may follow a hundred users on one connection', async () => {
    const db = createDatabase({ DATABASE_URL: stores.databaseUrl, DATABASE_POOL_MAX: 1 }, 'seed');
    await db.raw(
      `insert into users (id, username, username_key) select 'f' || n, 'f' || n, 'f' || n from generate_series(1, 101) n`,
    );
    await db.destroy();
    const watcher = await connect();
    // Requests are limited too, by the same code.
    const allowed = () =>
      eventually(
        async () =>
          expect(await watcher.ask('unspectate:user', { userId: 'f0' })).to.deep.equal({ ok: true }),
        {
          everyMs: 300,
          timeoutMs: 20_000,
        },
      );
    // A connection's requests are limited by the second as well: what is refused for that is asked again.
    const succeeds = (event: string, userId: string): Promise<void> =>
      eventually(
        async () => {
          expect(await watcher.ask(event, { userId }), userId).to.deep.equal({ ok: true });
        },
        { timeoutMs: 20_000 },
      );
    for (let i = 1; i <= 100; i += 1) await succeeds('spectate:user', `f${i}`);
    await allowed();
    expect(await watcher.ask('spectate:user', { userId: 'f101' })).to.deep.equal({
      ok: false,
      code: 'RATE_LIMITED',
    });
    await succeeds('unspectate:user', 'f1');
    await succeeds('spectate:user', 'f101');
  });
});
