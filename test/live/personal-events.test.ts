import { expect } from 'chai';
import { afterEach } from 'mocha';
import { eventually } from '../support/eventually.ts';
import { holdLine } from '../support/hold.ts';
import { call, Player } from '../support/player.ts';
import { useStores } from '../support/stores.ts';
import { useSystem } from '../support/system.ts';
import { Listener } from './viewers.ts';

describe('personal events', () => {
  const stores = useStores();
  const system = useSystem(stores, { realtime: 2 });
  const api = (): string => system.api[0]!.url;
  const listeners: Listener[] = [];

  /** Connected, and in its own room. */
  const connect = async (i: number, token?: string): Promise<Listener> => {
    const listener = new Listener(system.realtime[i]!.url, token);
    listeners.push(listener);
    expect(await listener.handshake).to.deep.equal({ code: 'connected' });
    return listener;
  };
  afterEach(() => {
    for (const { socket } of listeners.splice(0)) socket.disconnect();
  });

  it('tells a player once of each place entered, on every board and period, wherever the player is connected', async () => {
    const ahead = await Promise.all(Array.from({ length: 3 }, () => Player.join(api())));
    for (const player of ahead) await player.play(api(), 'COMPLETE_QUEST', 'game1');
    const player = await Player.join(api());
    const own = await Promise.all([connect(0, player.token), connect(1, player.token)]);
    const achieved = () =>
      own[0]!.of('rank:achieved').map(({ leaderboard, period, rank, previousRank, timestamp }) => {
        expect(Date.parse(timestamp)).to.be.closeTo(Date.now(), 60_000);
        return `${leaderboard} ${period} ${previousRank}>${rank}`;
      });
    const everywhere = (step: string): string[] =>
      ['game1', 'global'].flatMap((key) =>
        ['all', 'daily', 'weekly', 'monthly'].map((period) => `${key} ${period} ${step}`),
      );
    await player.play(api(), 'COMPLETE_TASK', 'game1');
    await eventually(() => expect(achieved()).to.have.members(everywhere('null>4')));
    await player.play(api(), 'COMPLETE_MISSION', 'game1');
    const both = [...everywhere('null>4'), ...everywhere('4>1')];
    await eventually(() => expect(achieved()).to.have.members(both));

    // Overtaken, and back: that is no entry any more.
    await ahead[0]!.play(api(), 'COMPLETE_MISSION', 'game1');
    await player.play(api(), 'COMPLETE_MISSION', 'game1');
    await eventually(() => {
      for (const one of own) expect(one.of('score:update')).to.have.length(3);
    });
    expect(achieved()).to.have.members(both);
    expect(own[1]!.of('rank:achieved')).to.deep.equal(own[0]!.of('rank:achieved'));
    expect(
      own[0]!.of('score:update').map(({ leaderboard, score, newRank }) => [leaderboard, score, newRank]),
    ).to.deep.equal([
      ['game1', 10, 4],
      ['game1', 110, 1],
      ['game1', 210, 1],
    ]);
    const unlocked = own[0]!.of('achievement:unlocked');
    expect(unlocked.map(({ key }) => key)).to.include('score-100');
    for (const event of unlocked) expect(event).to.have.all.keys('key', 'title', 'timestamp');
    const { body } = await call(api(), 'GET', `/users/${player.userId}/achievements`, {
      token: player.token,
    });
    expect(body.achievements.map(({ key }: { key: string }) => key)).to.include('score-100');
  });

  it('tells how an action ended that was answered 202, as its status URL does', async () => {
    const [player, other] = await Promise.all([Player.join(api()), Player.join(api())]);
    const [own, stranger] = await Promise.all([connect(1, player!.token), connect(1, other!.token)]);
    const prompt = await player!.play(api());
    expect(prompt.status).to.equal(200);
    const started = await player!.start(api(), 'COMPLETE_QUEST', 'game2');
    const letGo = await holdLine(stores.databaseUrl, player!.userId);
    const answer = await player!.complete(api(), started.body, { prefer: 'respond-async' });
    expect(answer.status).to.equal(202);
    await letGo();
    const result = await eventually(() => {
      const [one] = own!.of('action:result');
      expect(one).to.include({ status: 'completed' });
      return one;
    });
    const { body } = await call(api(), 'GET', `/actions/${started.body.actionId}`, { token: player!.token });
    expect(result).to.deep.equal(body);
    expect(result.result.score).to.deep.equal({ previous: 0, current: 50, delta: 50 });
    // The one that was answered at once needs no second word.
    expect(own!.of('action:result')).to.have.length(1);
    expect(stranger!.of('action:result')).to.deep.equal([]);
  });

  it('tells spectators what a player does, until the player refuses them', async () => {
    const player = await Player.join(api());
    const spectators = await Promise.all([connect(0), connect(1)]);
    for (const one of spectators)
      expect(await one.ask('spectate:user', { userId: player.userId })).to.deep.equal({ ok: true });
    const done = await player.start(api(), 'COMPLETE_QUEST', 'game1');
    await player.complete(api(), done.body);
    const dropped = await player.start(api());
    await call(api(), 'POST', `/actions/${dropped.body.actionId}/cancel`, { token: player.token });
    for (const one of spectators) {
      await eventually(() => expect(one.of('player:action')).to.have.length(4));
      const seen = one.of('player:action').map((event) => {
        expect(event).to.include({ userId: player.userId });
        expect(new Date(event.timestamp).toISOString()).to.equal(event.timestamp);
        return [event.actionId, event.type, event.status];
      });
      expect(seen).to.have.deep.members([
        [done.body.actionId, 'COMPLETE_QUEST', 'started'],
        [done.body.actionId, 'COMPLETE_QUEST', 'completed'],
        [dropped.body.actionId, 'COMPLETE_TASK', 'started'],
        [dropped.body.actionId, 'COMPLETE_TASK', 'cancelled'],
      ]);
    }

    const patched = await call(api(), 'PATCH', '/users/me', {
      token: player.token,
      body: { allowSpectators: false },
    });
    expect(patched.status).to.equal(200);
    for (const one of spectators)
      await eventually(() => expect(one.of('spectate:ended')).to.deep.equal([{ userId: player.userId }]));
    expect(await spectators[0]!.ask('spectate:user', { userId: player.userId })).to.deep.equal({
      ok: false,
      code: 'FORBIDDEN',
    });
    const own = await connect(1, player.token);
    await player.play(api());
    await eventually(() => expect(own.of('score:update')).to.have.length(1));
    // A round trip later whatever was sent to the spectator, too, would have come.
    await spectators[1]!.ask('leave:leaderboard', { leaderboard: 'global' });
    expect(spectators[1]!.of('player:action')).to.have.length(4);
    expect(spectators[1]!.of('score:update')).to.have.length(1);
  });
});
