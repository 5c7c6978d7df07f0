import { expect } from 'chai';
import { newId } from '../../common/ids.ts';
import { createLogger } from '../../common/logger.ts';
import { partitionOf, Queues } from '../../common/queues.ts';
import { closeRedis, createRedis } from '../../common/redis.ts';
import { eventually } from '../support/eventually.ts';
import { call, Player, type Answer } from '../support/player.ts';
import { useStores } from '../support/stores.ts';
import { useSystem } from '../support/system.ts';
import { Crowd, expectScores, withDatabase } from './crowd.ts';

describe('a completion and what may cross its way', function () {
  this.timeout(60_000);
  const stores = useStores();
  const system = useSystem(stores, { api: 2, clientSigned: true });
  const api = (n = 0): string => system.api[n % 2]!.url;

  it('lets exactly one of cancelling and completing win, and the ledger says which', async () => {
    const crowd = await Crowd.of(40, stores, 'hesitant');
    const winners = await Promise.all(
      crowd.userIds.map(async (userId, n) => {
        const token = crowd.token(userId);
        const { body } = await call(api(), 'POST', '/actions', { token, body: { type: 'COMPLETE_TASK' } });
        const { actionId, actionToken } = body;
        const complete = (): Promise<Answer> =>
          call(api(n), 'POST', `/actions/${actionId}/complete`, { token, body: { actionToken } });
        const cancel = (): Promise<Answer> =>
          call(api(n + 1), 'POST', `/actions/${actionId}/cancel`, { token });
        const [completed, cancelled] =
          n % 3 === 0
            ? await Promise.all([complete(), cancel()])
            : await Promise.all([cancel(), complete()]).then(([b, a]) => [a, b]);
        const answers = [completed!, cancelled!];
        expect(answers.map(({ status }) => status).sort()).to.deep.equal([200, 409]);
        const action = await call(api(), 'GET', `/actions/${actionId}`, { token });
        const won = answers.find(({ status }) => status === 200)!.body.status as string;
        expect(action.body.status).to.equal(won);
        const lost = answers.find(({ status }) => status === 409)!.body.code as string;
        // Who cancels between the commit and its result is told that it is being completed.
        const refusals =
          won === 'completed' ? ['ACTION_ALREADY_COMPLETED', 'ACTION_IN_PROGRESS'] : ['ACTION_CANCELLED'];
        expect(refusals).to.include(lost);
        return [actionId as string, won] as const;
      }),
    );
    await withDatabase(stores, async (db) => {
      const entries = await db('ledger').whereIn('user_id', crowd.userIds).select('action_id');
      expect(entries.map(({ action_id }) => action_id as string)).to.have.members(
        winners.flatMap(([actionId, won]) => (won === 'completed' ? [actionId] : [])),
      );
      await expectScores(db);
    });
  });

  it('ends a 202 with the result that a replay is refused with', async () => {
    const player = await Player.join(api());
    const started = await player.start(api());
    const answer = await player.complete(api(), started.body, { Prefer: 'respond-async' });
    expect([200, 202]).to.include(answer.status);
    const action = await eventually(async () => {
      const read = await call(api(1), 'GET', `/actions/${started.body.actionId}`, { token: player.token });
      expect(read.body.status).to.equal('completed');
      return read.body;
    });
    const replay = await player.complete(api(1), started.body);
    expect(replay.status).to.equal(409);
    expect(replay.body.code).to.equal('ACTION_ALREADY_COMPLETED');
    expect(replay.body.result).to.deep.equal(action.result);
  });

  it('refuses a replay with the first answer even when Redis knows of nothing any more', async () => {
    const player = await Player.join(api());
    const started = await player.start(api());
    const first = await player.complete(api(), started.body);
    expect(first.status).to.equal(200);
    // The ranks of an answer are written down a moment after it.
    await withDatabase(stores, (db) =>
      eventually(async () =>
        expect(await db('completion_ranks').where({ action_id: started.body.actionId })).to.have.length(1),
      ),
    );
    await stores.redis.flush();
    await eventually(async () => expect((await call(api(), 'GET', '//readyz')).status).to.equal(200));
    const replay = await player.complete(api(1), started.body);
    expect(replay.status).to.equal(409);
    expect(replay.body.result).to.deep.equal(first.body);
  });

  it('keeps another user’s hands off an action', async () => {
    const owner = await Player.join(api());
    const thief = await Player.join(api());
    const started = await owner.start(api());
    const answer = await thief.completeSigned(api(), started.body.actionId, {
      headers: { Prefer: 'respond-async' },
    });
    expect(answer.status).to.equal(409);
    expect(answer.body.code).to.equal('ACTION_ID_TAKEN');
    const read = await call(api(), 'GET', `/actions/${started.body.actionId}`, { token: owner.token });
    expect(read.body.status).to.equal('started');
    expect((await owner.complete(api(), started.body)).status).to.equal(200);
  });

  it('promises one id to one user: of many who sign it at once, every 202 counts', async () => {
    // Of several partitions, because within one the queue takes an id once.
    const players: Player[] = [];
    while (players.length < 4) {
      const player = await Player.join(api());
      const partition = partitionOf(player.userId, 8);
      if (!players.some(({ userId }) => partitionOf(userId, 8) === partition)) players.push(player);
    }
    for (let round = 0; round < 4; round += 1) {
      const actionId = newId();
      const answers = await Promise.all(
        players.map((player) =>
          player.completeSigned(api(), actionId, { headers: { prefer: 'respond-async' } }),
        ),
      );
      for (const { status, body } of answers)
        if (status !== 200 && status !== 202) expect(body.code).to.equal('ACTION_ID_TAKEN');
      const promised = players.filter((_, i) => answers[i]!.status < 300);
      expect(promised).to.have.length(1);
      await eventually(async () => {
        const { body } = await call(api(), 'GET', `/actions/${actionId}`, { token: promised[0]!.token });
        expect(body.status).to.equal('completed');
      });
    }
  });

  it('tells each of two users who signed the same id what became of the own completion', async () => {
    const PARTITIONS = 8;
    const first = await Player.join(api());
    let second = await Player.join(api());
    // In one partition the queue takes an id once only.
    while (partitionOf(second.userId, PARTITIONS) === partitionOf(first.userId, PARTITIONS))
      second = await Player.join(api());
    const redis = createRedis(stores.redis.url, 'blocking', createLogger('test', 'silent'));
    const queues = new Queues(redis, PARTITIONS);
    const actionId = newId();
    const answers: Promise<Answer>[] = [];
    await withDatabase(stores, (db) =>
      db.transaction(async (trx) => {
        // Nothing is applied until both have been let in, and stand in line.
        await trx.raw('lock table ledger in exclusive mode');
        for (const player of [first, second]) answers.push(player.completeSigned(api(), actionId));
        await eventually(async () => {
          const jobs = await Promise.all(
            [first, second].map(({ userId }) =>
              queues.partitions[partitionOf(userId, PARTITIONS)]!.getJob(actionId),
            ),
          );
          expect(jobs.filter((job) => job !== undefined)).to.have.length(2);
        });
      }),
    );
    const told = await Promise.all(answers);
    expect(told.map(({ status }) => status)).to.have.members([200, 409]);
    const winner = [first, second][told.findIndex(({ status }) => status === 200)]!;
    for (const { status, body } of told) {
      if (status === 200) expect(body.userId).to.equal(winner.userId);
      else expect(body.code).to.equal('ACTION_ID_TAKEN');
    }
    await withDatabase(stores, async (db) => {
      expect(await db('ledger').where({ action_id: actionId }).pluck('user_id')).to.deep.equal([
        winner.userId,
      ]);
      await expectScores(db);
    });
    await queues.close();
    await closeRedis(redis);
  });

  it('ends open actions some time after their tokens', async () => {
    const player = await Player.join(api());
    const [late, young] = [await player.start(api()), await player.start(api())];
    await withDatabase(stores, (db) =>
      db('actions')
        .where({ id: late.body.actionId })
        .update({ started_at: new Date(Date.now() - 400_000), expires_at: new Date(Date.now() - 100_000) }),
    );
    const redis = createRedis(stores.redis.url, 'blocking', createLogger('test', 'silent'));
    const queues = new Queues(redis, 8);
    await queues.requestMaintenance('expire', {});
    const statusOf = async ({ body }: Answer): Promise<string> =>
      (await call(api(), 'GET', `/actions/${body.actionId}`, { token: player.token })).body.status;
    await eventually(async () => expect(await statusOf(late)).to.equal('expired'));
    expect(await statusOf(young)).to.equal('started');
    await queues.close();
    await closeRedis(redis);
  });
});
