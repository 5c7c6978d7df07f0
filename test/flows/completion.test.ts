import { expect } from 'chai';
import { call, Player } from '../support/player.ts';
import { useStores } from '../support/stores.ts';
import { useSystem } from '../support/system.ts';

describe('the main job: start, complete, rank', () => {
  const stores = useStores();
  const system = useSystem(stores, { api: 2 });
  const api = (): string => system.api[0]!.url;

  it('counts a completion once, with what the server says it is worth', async () => {
    const player = await Player.join(api());
    const started = await player.start(api(), 'COMPLETE_QUEST', 'game1');
    expect(started.status).to.equal(201);
    expect(started.body).to.include({
      type: 'COMPLETE_QUEST',
      leaderboard: 'game1',
      status: 'started',
      points: 50,
    });
    const completed = await player.complete(api(), started.body);
    expect(completed.status).to.equal(200);
    expect(completed.body).to.deep.include({
      actionId: started.body.actionId,
      status: 'completed',
      leaderboard: 'game1',
      userId: player.userId,
      score: { previous: 0, current: 50, delta: 50 },
      rank: { previous: null, current: 1 },
    });
    const replay = await player.complete(api(), started.body);
    expect(replay.status).to.equal(409);
    expect(replay.body.code).to.equal('ACTION_ALREADY_COMPLETED');
    expect(replay.body.result).to.deep.equal(completed.body);
    const action = await call(api(), 'GET', `/actions/${started.body.actionId}`, { token: player.token });
    expect(action.body).to.deep.include({ status: 'completed', result: completed.body });
  });

  it('answers exactly one of 20 parallel completions of one token with 200', async () => {
    const player = await Player.join(api());
    const started = await player.start(api());
    const answers = await Promise.all(
      Array.from({ length: 20 }, (_, i) => player.complete(system.api[i % 2]!.url, started.body)),
    );
    const statuses = answers.map(({ status }) => status);
    expect(statuses.filter((status) => status === 200)).to.have.length(1);
    expect(statuses.filter((status) => status === 409)).to.have.length(19);
    const standing = await call(api(), 'GET', '/leaderboards/global/users/me', { token: player.token });
    expect(standing.body.score).to.equal(10);
  });

  it('gives 8 parallel completions of one user 8 distinct consecutive totals', async () => {
    const player = await Player.join(api());
    const started = await Promise.all(Array.from({ length: 8 }, () => player.start(api())));
    const answers = await Promise.all(
      started.map(({ body }, i) => player.complete(system.api[i % 2]!.url, body)),
    );
    expect(answers.map(({ status }) => status)).to.deep.equal(Array(8).fill(200));
    const totals = answers.map(({ body }) => body.score.current as number).sort((a, b) => a - b);
    expect(totals).to.deep.equal([10, 20, 30, 40, 50, 60, 70, 80]);
    for (const { body } of answers) expect(body.score.previous).to.equal(body.score.current - 10);
  });
});
