import { createHmac } from 'node:crypto';
import { expect } from 'chai';
import { afterEach, before } from 'mocha';
import { administrator } from '../support/administrator.ts';
import { eventually } from '../support/eventually.ts';
import { call, Player, type Answer } from '../support/player.ts';
import { useStores } from '../support/stores.ts';
import { useSystem } from '../support/system.ts';
import { Listener } from './viewers.ts';

const secret = 'studios-check-updates-with-this-secret-01';

describe('switches', () => {
  const stores = useStores();
  const system = useSystem(stores, {
    api: 2,
    realtime: 2,
    env: { BROADCAST_SIGNING_SECRETS: `${secret},an-older-secret-that-still-has-32-bytes` },
  });
  const api = (i = 0): string => system.api[i]!.url;
  const listeners: Listener[] = [];
  let admin: Player;

  before(async () => {
    admin = await administrator(stores.databaseUrl, api());
  });
  afterEach(() => {
    for (const { socket } of listeners.splice(0)) socket.disconnect();
  });

  const turn = (key: string, body: unknown, token = admin.token): Promise<Answer> =>
    call(api(), 'PUT', `/admin/features/${key}`, { token, body });
  const watch = async (i: number, leaderboard: string): Promise<Listener & { version: number }> => {
    const listener = new Listener(system.realtime[i]!.url);
    listeners.push(listener);
    const { snapshot } = await listener.ask('join:leaderboard', { leaderboard });
    return Object.assign(listener, { version: snapshot.version as number });
  };

  it('is for administrators, and takes nothing but what a switch has', async () => {
    const player = await Player.join(api());
    expect((await turn('broadcast', { enabled: false }, player.token)).body.code).to.equal('FORBIDDEN');
    for (const [key, body] of [
      ['gravity', { enabled: false }],
      ['broadcast', {}],
      ['broadcast', { enabled: 'no' }],
      ['submissions', { enabled: true, mutedLeaderboards: [] }],
    ] as const) {
      const answer = await turn(key, body);
      expect([answer.status, answer.body.code], JSON.stringify(body)).to.deep.equal([400, 'INVALID_REQUEST']);
    }
    const { body } = await call(api(), 'GET', '/admin/features', { token: admin.token });
    expect(body.features).to.deep.equal({
      broadcast: { enabled: true, mutedLeaderboards: [] },
      submissions: { enabled: true },
    });
  });

  it('mutes one board or all, and shows watchers what they missed when it is over', async () => {
    const player = await Player.join(api());
    for (const game of ['game1', 'game2']) await player.play(api(), 'COMPLETE_TASK', game);
    const [muted, loud] = [await watch(0, 'game1'), await watch(1, 'game2')];
    expect((await turn('broadcast', { enabled: true, mutedLeaderboards: ['game1'] })).status).to.equal(200);
    expect(
      (await call(api(1), 'GET', '/admin/features/broadcast', { token: admin.token })).body,
    ).to.deep.equal({
      enabled: true,
      mutedLeaderboards: ['game1'],
    });
    // Played until only the one is heard: the switch acts within a second, not at once.
    const heard = (one: Listener): number => one.of('leaderboard:update').length;
    await eventually(async () => {
      const before = heard(muted);
      const heardBefore = heard(loud);
      await player.play(api(), 'COMPLETE_TASK', 'game1');
      await player.play(api(), 'COMPLETE_TASK', 'game2');
      await eventually(() => expect(heard(loud)).to.be.above(heardBefore));
      expect(heard(muted)).to.equal(before);
    });
    const before = muted.of('leaderboard:update').at(-1)?.version ?? muted.version;
    const late = await watch(0, 'game1');
    expect(late.version).to.be.above(before);

    await turn('broadcast', { enabled: true });
    const frame = await eventually(() => {
      const last = muted.of('leaderboard:update').at(-1);
      expect(last?.version).to.be.above(before);
      return last;
    });
    expect(frame.previousVersion).to.equal(before);
    const { body } = await call(api(), 'GET', '/leaderboards/game1');
    expect(frame.entries).to.deep.equal(body.entries);
  });

  it('mutes every board at once, and tells players of their own play all the same', async () => {
    const player = await Player.join(api());
    const own = new Listener(system.realtime[1]!.url, player.token);
    listeners.push(own);
    await own.handshake;
    const watchers = [await watch(0, 'game1'), await watch(1, 'global')];
    const heard = (): number[] => watchers.map((one) => one.of('leaderboard:update').length);
    await turn('broadcast', { enabled: false });
    await eventually(async () => {
      const before = heard();
      // A frame would come with the first of them, or before the last.
      for (let i = 0; i < 5; i += 1) {
        const told = own.of('score:update').length;
        await player.play(api(), 'COMPLETE_TASK', 'game1');
        await eventually(() => expect(own.of('score:update').length).to.be.above(told));
      }
      expect(heard()).to.deep.equal(before);
    });
    await turn('broadcast', { enabled: true });
    await eventually(() => {
      for (const one of watchers) expect(one.of('leaderboard:update')).not.to.be.empty;
    });
  });

  it('makes every API instance read-only, and writable again', async () => {
    const player = await Player.join(api());
    const started = await player.start(api());
    await turn('submissions', { enabled: false });
    for (const i of [0, 1]) {
      await eventually(async () => {
        const answer = await player.start(api(i));
        expect([answer.status, answer.body.code]).to.deep.equal([503, 'UNAVAILABLE']);
        expect(Number(answer.headers['retry-after'])).to.be.least(1);
      });
    }
    expect((await player.complete(api(), started.body)).status).to.equal(503);
    expect((await call(api(), 'GET', '/leaderboards/global')).status).to.equal(200);
    await turn('submissions', { enabled: true });
    await eventually(async () => expect((await player.start(api(1))).status).to.equal(201));
    expect((await player.complete(api(), started.body)).status).to.equal(200);
  });

  it('signs every update, so that a relay can be checked', async () => {
    const player = await Player.join(api());
    const listener = await watch(1, 'global');
    await player.play(api());
    const frame = await eventually(() => {
      const [one] = listener.of('leaderboard:update');
      expect(one).to.include.all.keys('keyId', 'signature');
      return one;
    });
    // As the documentation says: sorted members, no white space.
    const sorted = (value: any): any =>
      Array.isArray(value)
        ? value.map(sorted)
        : value !== null && typeof value === 'object'
          ? Object.fromEntries(
              Object.keys(value)
                .sort()
                .map((name) => [name, sorted(value[name])]),
            )
          : value;
    const { signature, ...signed } = frame;
    const hmac = (text: string) => createHmac('sha256', secret).update(text).digest('hex');
    expect(hmac(JSON.stringify(sorted(signed)))).to.equal(signature);
    expect(hmac(JSON.stringify(sorted({ ...signed, version: signed.version + 1 })))).not.to.equal(signature);
  });
});
