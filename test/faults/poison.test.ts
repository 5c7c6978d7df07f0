import { once } from 'node:events';
import { connect } from 'node:net';
import { Queue } from 'bullmq';
import { expect } from 'chai';
import { Redis } from 'ioredis';
import { after, before } from 'mocha';
import { newId } from '../../common/ids.ts';
import { createDatabase, type Database } from '../../common/postgres.ts';
import { partitionOf, partitionQueue, type CompletionJob, type PartitionJob } from '../../common/queues.ts';
import { DEFAULT_REDIS_PREFIX } from '../../common/redis-names.ts';
import { administrator } from '../support/administrator.ts';
import { eventually } from '../support/eventually.ts';
import { signedJob, testSignatures } from '../support/jobs.ts';
import { call, Player } from '../support/player.ts';
import { useStores } from '../support/stores.ts';
import { useSystem } from '../support/system.ts';

const PARTITIONS = 8;
const MORE_THAN_POSTGRES_HOLDS = 2 ** 31;
const patience = { timeoutMs: 20_000 };

describe('completions that no worker can take', function () {
  this.timeout(60_000);
  const stores = useStores();
  const system = useSystem(stores);
  const api = (): string => system.api[0]!.url;
  let db: Database;
  let redis: Redis;
  let admin: Player;
  before(async () => {
    db = createDatabase({ DATABASE_URL: stores.databaseUrl, DATABASE_POOL_MAX: 2 }, 'test');
    redis = new Redis(stores.redis.url);
    admin = await administrator(stores.databaseUrl, api());
  });
  after(async () => {
    redis.disconnect();
    await db.destroy();
  });

  const statusOf = async (player: Player, actionId: string): Promise<string> =>
    (await call(api(), 'GET', `/actions/${actionId}`, { token: player.token })).body.status;
  const scoreOf = async (player: Player, board = 'global'): Promise<number> =>
    (await call(api(), 'GET', `/leaderboards/${board}/users/me`, { token: player.token })).body.score;

  async function withQueue<T>(userId: string, use: (queue: Queue<PartitionJob>) => Promise<T>): Promise<T> {
    const queue = new Queue<PartitionJob>(partitionQueue(partitionOf(userId, PARTITIONS)), {
      connection: redis,
      prefix: DEFAULT_REDIS_PREFIX,
    });
    try {
      return await use(queue);
    } finally {
      await queue.close();
    }
  }

  /** An action that was answered 202, as Postgres keeps it, with a payload that may be any. */
  async function queued(player: Player, change: (payload: CompletionJob) => unknown): Promise<string> {
    const { actionId } = (await player.start(api())).body as { actionId: string };
    const [row] = await db('actions').where({ id: actionId }).select('token_hash');
    const payload = testSignatures.sign<CompletionJob>({
      kind: 'completion',
      actionId,
      userId: player.userId,
      acceptedAt: Date.now(),
      tokenHash: row.token_hash.toString('hex'),
      ip: null,
      userAgent: null,
      replyTo: 'nobody',
    });
    await db('queued_completions').insert({
      action_id: actionId,
      user_id: player.userId,
      payload: JSON.stringify(change(payload)),
      accepted_at: new Date(payload.acceptedAt),
      enqueued_at: new Date(Date.now() - 60_000),
    });
    await db('actions').where({ id: actionId }).update({ status: 'queued' });
    return actionId;
  }

  it('are none of those whose client resets the connection at once: each counts exactly once', async () => {
    const player = await Player.join(api());
    const { hostname, port } = new URL(api());
    const actions: { actionId: string; actionToken: string }[] = [];
    for (let i = 0; i < 20; i += 1) actions.push((await player.start(api())).body);
    for (const { actionId, actionToken } of actions) {
      const body = JSON.stringify({ actionToken });
      const socket = connect(Number(port), hostname);
      socket.on('error', () => undefined);
      await once(socket, 'connect');
      socket.write(
        `POST /api/v1/actions/${actionId}/complete HTTP/1.1\r\nHost: ${hostname}\r\nAuthorization: Bearer ${player.token}\r\n` +
          `Content-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
        () => socket.resetAndDestroy(),
      );
      await once(socket, 'close');
    }
    // A request that was cut before it was whole is sent again, as its client would.
    for (const action of actions) {
      await eventually(async () => {
        const again = await player.complete(api(), action);
        expect([200, 409]).to.include(again.status);
        if (again.status === 409) expect(again.body.code).to.equal('ACTION_ALREADY_COMPLETED');
      }, patience);
    }
    expect(await scoreOf(player)).to.equal(200);
    expect(
      await db('ledger')
        .where({ user_id: player.userId })
        .count()
        .then(([row]) => Number(row!['count'])),
    ).to.equal(20);
    expect((await player.play(api())).body).to.have.nested.property('score.current', 210);
  });

  it('are set aside when a row cannot be read; the player is told, and nobody behind it waits', async () => {
    const [player, other] = [await Player.join(api()), await Player.join(api())];
    const unreadable = await queued(player, () => ({ kind: 'completion', of: 'another version' }));
    const good = await queued(other, (payload) => payload);
    await eventually(async () => expect(await statusOf(other, good)).to.equal('completed'), patience);
    await eventually(async () => expect(await statusOf(player, unreadable)).to.equal('rejected'), patience);
    expect((await player.play(api())).body).to.have.nested.property('score.current', 10);
    expect(await scoreOf(player)).to.equal(10);
    const listed = await call(api(), 'GET', '/admin/dead-completions', { token: admin.token });
    expect(listed.body.completions).to.deep.include.members([
      {
        ...listed.body.completions.find(({ actionId }: { actionId: string }) => actionId === unreadable),
        actionId: unreadable,
        userId: player.userId,
        username: player.username,
        reason: 'unreadable',
        accepted: true,
      },
    ]);
    const metrics = await (await fetch(`${system.workers[0]!.url}/metrics`)).text();
    expect(Number(/^laurel_dead_completions(?:\{.*\})? (\d+)/m.exec(metrics)?.[1])).to.be.above(0);
  });

  it('do not fail what their player does next, whose score is right at once', async () => {
    const player = await Player.join(api());
    const ids = [
      await queued(player, () => null),
      await queued(player, (payload) => ({ ...payload, sig: 'x' })),
      await queued(player, (payload) => ({ ...payload, tokenHash: 'zz' })),
    ];
    const played = await player.play(api());
    expect([played.status, played.body.score?.current]).to.deep.equal([200, 10]);
    expect(await scoreOf(player)).to.equal(10);
    for (const id of ids) expect(await statusOf(player, id)).to.equal('rejected');
  });

  it('do not fail it either when they can be read, and Postgres cannot hold them', async () => {
    const player = await Player.join(api());
    const impossible = newId();
    const job = signedJob(player.userId, impossible, { points: MORE_THAN_POSTGRES_HOLDS });
    await db('queued_completions').insert({
      action_id: impossible,
      user_id: player.userId,
      payload: JSON.stringify(job),
      accepted_at: new Date(job.acceptedAt),
    });
    const played = await player.play(api());
    expect([played.status, played.body.score?.current]).to.deep.equal([200, 10]);
    const [row] = await db('queued_completions').where({ action_id: impossible });
    expect(row.dead_reason).to.include('out of range');
    expect(await statusOf(player, impossible)).to.equal('rejected');
  });

  it('stop no season: it closes although such a row is older', async () => {
    const player = await Player.join(api());
    await queued(player, () => 'nothing');
    await db('queued_completions')
      .where({ user_id: player.userId })
      .update({
        accepted_at: new Date('2020-01-01T00:00:00Z'),
        dead_at: new Date(),
        dead_reason: 'unreadable',
      });
    await db('board_periods').insert({
      leaderboard: 'game1',
      period: 'daily',
      starts_at: new Date('2020-01-02T00:00:00Z'),
      ends_at: new Date('2020-01-03T00:00:00Z'),
    });
    await eventually(
      async () => {
        const [period] = await db('board_periods').where({ starts_at: new Date('2020-01-02T00:00:00Z') });
        expect(period.archived_at).to.not.equal(null);
      },
      { timeoutMs: 30_000 },
    );
  });

  it('do not make the queue ignore the action: after a failed job of its id it counts', async () => {
    const player = await Player.join(api());
    const started = await player.start(api());
    await withQueue(player.userId, async (queue) => {
      const junk = { kind: 'completion', actionId: started.body.actionId, userId: player.userId };
      await queue.add('completion', junk as PartitionJob, { jobId: started.body.actionId });
      await eventually(async () => expect(await queue.getJobState(started.body.actionId)).to.equal('failed'));
    });
    expect(await statusOf(player, started.body.actionId), 'a job of anybody’s changes nothing').to.equal(
      'started',
    );
    const answer = await player.complete(api(), started.body, { prefer: 'wait=1' });
    expect([200, 202]).to.include(answer.status);
    await eventually(
      async () => expect(await statusOf(player, started.body.actionId)).to.equal('completed'),
      patience,
    );
    expect(await scoreOf(player)).to.equal(10);
  });

  it('are all that the API did not sign', async () => {
    const player = await Player.join(api());
    const actionId = newId();
    await withQueue(player.userId, async (queue) => {
      const { sig, ...unsigned } = signedJob(player.userId, actionId, { points: 100 });
      expect(sig).to.be.a('string');
      await queue.add('completion', unsigned as PartitionJob, { jobId: actionId });
      const forged = {
        ...signedJob(player.userId, newId()),
        client: { type: 'COMPLETE_TASK', leaderboard: 'game1', points: 100 },
      };
      await queue.add('completion', forged, { jobId: forged.actionId });
      await queue.add('adjustment', {
        kind: 'correction',
        correction: 'adjustment',
        transactionId: newId(),
        userId: player.userId,
        leaderboard: 'game1',
        delta: 100,
        reason: 'mine',
        actor: player.userId,
        acceptedAt: Date.now(),
        replyTo: 'nobody',
      });
      await eventually(async () => expect(await queue.getFailedCount()).to.be.at.least(3));
    });
    expect(await db('ledger').where({ user_id: player.userId })).to.deep.equal([]);
    expect((await player.play(api())).body).to.have.nested.property('score.current', 10);
    const retry = await call(api(), 'POST', `/admin/dead-completions/${actionId}/retry`, {
      token: admin.token,
    });
    expect([retry.status, retry.body.code]).to.deep.equal([400, 'INVALID_REQUEST']);
  });

  it('are answered at once when they cannot be applied, and counted when an administrator has them tried again', async () => {
    const player = await Player.join(api());
    const started = await player.start(api());
    await db('actions')
      .where({ id: started.body.actionId })
      .update({ points: MORE_THAN_POSTGRES_HOLDS - 1 });
    // Two entries of so much are more than a running total of integers holds; one cannot be forged out of range in SQL.
    await db.raw(
      `create function refuse_one() returns trigger language plpgsql as $$ begin
         if new.points > 1000000 then raise exception 'too much' using errcode = '22003'; end if; return new; end $$;
       create trigger refuse_one before insert on ledger for each row execute function refuse_one()`,
    );
    const answer = await player.complete(api(), started.body, { prefer: 'wait=20' });
    expect([answer.status, answer.body.code]).to.deep.equal([422, 'ACTION_REJECTED']);
    expect(await statusOf(player, started.body.actionId)).to.equal('rejected');
    await db.raw('drop trigger refuse_one on ledger; drop function refuse_one()');
    await db('actions').where({ id: started.body.actionId }).update({ points: 10 });
    const forbidden = await call(api(), 'POST', `/admin/dead-completions/${started.body.actionId}/retry`, {
      token: player.token,
    });
    expect(forbidden.status).to.equal(403);
    const retry = await call(api(), 'POST', `/admin/dead-completions/${started.body.actionId}/retry`, {
      token: admin.token,
    });
    expect([retry.status, retry.body.status]).to.deep.equal([202, 'queued']);
    await eventually(
      async () => expect(await statusOf(player, started.body.actionId)).to.equal('completed'),
      patience,
    );
    expect(await scoreOf(player)).to.equal(10);
    expect(await db('audit_log').where({ action: 'completion.retry' })).to.have.length(1);
  });

  it('keep a signed id for the user who was promised it first', async () => {
    const [first, second] = [await Player.join(api()), await Player.join(api())];
    const actionId = newId();
    const jobs = [first, second].map((player) => signedJob(player.userId, actionId));
    const statuses: unknown[] = [];
    for (const job of jobs) {
      const { rows } = await db.raw('select record_acceptance(?::jsonb) as acceptance', [
        JSON.stringify({ ...job, acceptedAt: 1_790_000_000_000 }),
      ]);
      statuses.push(rows[0].acceptance.status);
    }
    expect(statuses).to.deep.equal(['queued', 'not_yours']);
    const queued = () => db('queued_completions').where({ action_id: actionId });
    expect((await queued()).map((row) => row.user_id)).to.deep.equal([first.userId]);
    await queued().update({ payload: JSON.stringify(jobs[0]), enqueued_at: new Date(0) });
    await eventually(async () => expect(await statusOf(first, actionId)).to.equal('completed'), patience);
    expect(await queued()).to.deep.equal([]);
  });
});
