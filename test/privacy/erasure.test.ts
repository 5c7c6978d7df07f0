import { randomUUID } from 'node:crypto';
import { expect } from 'chai';
import { Queue } from 'bullmq';
import { Redis } from 'ioredis';
import { createDatabase, type Database } from '../../common/postgres.ts';
import { partitionOf, partitionQueue } from '../../common/queues.ts';
import { forget } from '../../workers/maintenance/retention.ts';
import { administrator } from '../support/administrator.ts';
import { eventually } from '../support/eventually.ts';
import { call, Player, type Answer } from '../support/player.ts';
import { useStores } from '../support/stores.ts';
import { startTier, useSystem, type RunningTier } from '../support/system.ts';

const DAY_MS = 86_400_000;
const PARTITIONS = 8;

/** Texts of one person, each of which is found nowhere else. */
function person() {
  const tag = randomUUID().replaceAll('-', '').slice(0, 10);
  const byte = () => 1 + Math.floor(Math.random() * 250);
  return {
    name: `Zerlina-${tag}`,
    avatar: `https://example.org/face-${tag}.png`,
    ip: `203.${byte()}.${byte()}.${byte()}`,
    agent: `PhoneOf${tag}/1.0`,
    metadata: `secret-${tag}-level`,
    written: `complaint-${tag}`,
  };
}
type Person = ReturnType<typeof person>;

describe('erasure and retention of personal data', function () {
  this.timeout(90_000);
  const stores = useStores();
  const system = useSystem(stores, { env: { TRUSTED_PROXIES: '1' } });
  let admin: Player;
  let db: Database;
  const api = (): string => system.api[0]!.url;

  before(async () => {
    admin = await administrator(stores.databaseUrl, api());
    db = createDatabase({ DATABASE_URL: stores.databaseUrl, DATABASE_POOL_MAX: 4 }, 'test');
  });
  after(() => db.destroy());

  const headersOf = ({ ip, agent }: Person) => ({ 'x-forwarded-for': ip, 'user-agent': agent });

  const start = (player: Player, who: Person) =>
    call(api(), 'POST', '/actions', {
      token: player.token,
      body: { type: 'COMPLETE_TASK', leaderboard: 'game1', metadata: { note: who.metadata } },
      headers: headersOf(who),
    });
  const complete = (player: Player, who: Person, action: { actionId: string; actionToken: string }) =>
    call(api(), 'POST', `/actions/${action.actionId}/complete`, {
      token: player.token,
      body: { actionToken: action.actionToken, metadata: { note: who.metadata } },
      headers: { ...headersOf(who), prefer: 'respond-async' },
    });

  /** The tables, or Redis, in which a text of a person stands. */
  async function traces(who: Person): Promise<string[]> {
    const found = await tracesInTables(who);
    for (const text of Object.values(who))
      if (await stores.redis.contains(text)) found.push(`${text} in Redis`);
    return found;
  }
  async function tracesInTables(who: Person): Promise<string[]> {
    const { rows: tables } = await db.raw<{ rows: { name: string }[] }>(
      `select table_name as name from information_schema.tables where table_schema = 'public' and table_type = 'BASE TABLE'`,
    );
    const found: string[] = [];
    for (const text of Object.values(who)) {
      for (const { name } of tables) {
        const { rows } = await db.raw<{ rows: unknown[] }>(
          `select 1 from ?? t where t::text ilike ? limit 1`,
          [name, `%${text}%`],
        );
        if (rows.length > 0) found.push(`${text} in ${name}`);
      }
    }
    return found;
  }

  const queueOf = (userId: string) => partitionQueue(partitionOf(userId, PARTITIONS));

  /** Someone of whom every table knows something, and of whom administrators have written. */
  async function knownPerson(): Promise<{ player: Player; who: Person }> {
    const who = person();
    const player = await Player.join(api(), who.name);
    await call(api(), 'PATCH', '/users/me', { token: player.token, body: { avatarUrl: who.avatar } });
    const action = await start(player, who);
    const done = await call(api(), 'POST', `/actions/${action.body.actionId}/complete`, {
      token: player.token,
      body: { actionToken: action.body.actionToken },
      headers: headersOf(who),
    });
    expect(done.status).to.equal(200);
    const write = async (method: string, path: string, body?: object) => {
      const answer = await call(api(), method, path, {
        token: admin.token,
        headers: { 'idempotency-key': randomUUID() },
        ...(body && { body }),
      });
      expect(answer.status, JSON.stringify(answer.body)).to.be.oneOf([200, 202]);
    };
    const reason = `${who.written} by ${who.name}`;
    await write('POST', `/admin/users/${player.userId}/adjustments`, {
      leaderboard: 'game1',
      delta: 20,
      reason,
    });
    await write('POST', `/admin/transactions/${done.body.transactionId}/rollback`, { reason });
    return { player, who };
  }

  it('leaves none of a person’s texts in any table or key, with completions under way', async () => {
    for (let round = 0; round < 3; round += 1) {
      const { player, who } = await knownPerson();
      const open = await Promise.all(Array.from({ length: 12 }, () => start(player, who)));
      const racing = open.map(async ({ body }, i) => {
        await new Promise((resolve) => setTimeout(resolve, i * 3));
        return (await complete(player, who, body)).status;
      });
      const starting = Array.from({ length: 5 }, () => start(player, who));
      const erased = call(api(), 'DELETE', '/users/me', { token: player.token });
      const statuses = await Promise.all(racing);
      await Promise.all(starting);
      expect((await erased).status).to.equal(204);
      for (const status of statuses) expect(status).to.be.oneOf([200, 202, 401]);
      await eventually(async () => expect(await traces(who)).to.deep.equal([]), { timeoutMs: 15_000 });
      // What was accepted counts all the same, and is applied without bringing anything back.
      await eventually(async () => {
        const waiting = await db('queued_completions').where({ user_id: player.userId });
        expect(waiting).to.have.length(0);
      });
      expect(await traces(who)).to.deep.equal([]);
    }
  });

  it('waits for a completion that a worker is applying, and clears it', async () => {
    const { player, who } = await knownPerson();
    const open = await start(player, who);
    // Its row is locked: the completion waits in its worker, is answered 202, and is applied after the erasure has begun.
    const lock = await db.transaction();
    let erased: Promise<Answer>;
    try {
      await lock.raw('select from actions where id = ? for update', [open.body.actionId]);
      expect((await complete(player, who, open.body)).status).to.equal(202);
      erased = call(api(), 'DELETE', '/users/me', { token: player.token });
    } finally {
      await lock.commit();
    }
    expect((await erased).status).to.equal(204);
    await eventually(async () => expect(await traces(who)).to.deep.equal([]), { timeoutMs: 15_000 });
  });

  it('takes a banned user’s reason, and every text of the audit log, and leaves figures and ids', async () => {
    const { player, who } = await knownPerson();
    await call(api(), 'POST', `/admin/users/${player.userId}/ban`, {
      token: admin.token,
      body: { reason: `${who.name}: ${who.written}` },
      headers: { 'idempotency-key': randomUUID() },
    });
    await db.raw('select erase_user(?)', [player.userId]);
    expect(await tracesInTables(who)).to.deep.equal([]);
    // Redis hears of it by the outbox.
    await eventually(async () => expect(await traces(who)).to.deep.equal([]), { timeoutMs: 15_000 });
    const audit: { action: string; details: Record<string, unknown> }[] = await db('audit_log')
      .where({ subject: player.userId })
      .select('action', 'details');
    expect(audit.map(({ action }) => action)).to.include('user.ban');
    expect(audit.find(({ action }) => action === 'score.adjust')?.details).to.include({
      leaderboard: 'game1',
      delta: 20,
    });
    const user = await db('users').where({ id: player.userId }).first('banned_at', 'ban_reason');
    expect(user.banned_at).not.to.equal(null);
    expect(user.ban_reason).to.equal(null);
  });

  it('lets nothing be written of an erased user: profile, reasons, acceptance, completion', async () => {
    const { player, who } = await knownPerson();
    const open = await start(player, who);
    await db.raw('select erase_user(?)', [player.userId]);
    const { username } = await db('users').where({ id: player.userId }).first('username');
    expect(username).to.match(/^erased-/);
    // A rename, a picture and a ban that were under way.
    await db('users')
      .where({ id: player.userId })
      .update({
        username: who.name,
        username_key: who.name,
        email: `${who.name}@example.org`,
        avatar_url: who.avatar,
        ban_reason: who.written,
        password_hash: who.written,
        erased_at: null,
      });
    const job = {
      kind: 'completion',
      actionId: open.body.actionId,
      userId: player.userId,
      acceptedAt: Date.now(),
      tokenHash: null,
      ip: who.ip,
      userAgent: who.agent,
      replyTo: 'nobody',
    };
    await db.raw('select record_acceptance(?::jsonb)', [JSON.stringify(job)]);
    const signed = {
      ...job,
      actionId: randomUUID(),
      client: { type: 'COMPLETE_TASK', leaderboard: 'game1', points: 10 },
    };
    await db.raw('select apply_completions(?::jsonb)', [
      JSON.stringify([{ ...signed, transactionId: randomUUID() }]),
    ]);
    expect(await db('ledger').where({ action_id: signed.actionId })).to.have.length(1);
    expect(await tracesInTables(who)).to.deep.equal([]);
  });

  it('keeps the ledger append-only: of an erased user’s entry the reason may go, and nothing else', async () => {
    const { player } = await knownPerson();
    const change = (values: object) => db('ledger').where({ user_id: player.userId }).update(values);
    const refusal = async (work: Promise<unknown>) =>
      work.then(
        () => 'done',
        (error: { code?: string }) => error.code,
      );
    expect(await refusal(change({ reason: null }))).to.equal('23001');
    await db('users').where({ id: player.userId }).update({ erased_at: new Date() });
    expect(await refusal(change({ reason: 'another' }))).to.equal('23001');
    const ofReason = db('ledger').where({ user_id: player.userId }).whereNotNull('reason');
    expect(await refusal(ofReason.update({ reason: null, points: 1 }))).to.equal('23001');
    expect(await refusal(db('ledger').where({ user_id: player.userId }).delete())).to.equal('23001');
    await db.raw('select scrub_user(?, 100)', [player.userId]);
    expect(await db('ledger').where({ user_id: player.userId }).whereNotNull('reason')).to.have.length(0);
  });

  it('takes ended jobs of an erased user out of the queue', async () => {
    const { player, who } = await knownPerson();
    const connection = new Redis(stores.redis.url, { maxRetriesPerRequest: null });
    const queue = new Queue(queueOf(player.userId), { connection, prefix: 'laurel' });
    try {
      expect(await stores.redis.contains(player.userId)).to.equal(true);
      await call(api(), 'DELETE', '/users/me', { token: player.token });
      await eventually(
        async () => {
          const jobs = await queue.getJobs(['completed', 'failed']);
          expect(
            jobs.filter(({ data }) => data.kind === 'completion' && data.userId === player.userId),
          ).to.have.length(0);
        },
        { timeoutMs: 15_000 },
      );
      expect(await traces(who)).to.deep.equal([]);
    } finally {
      await queue.close();
      connection.disconnect();
    }
  });

  describe('retention', () => {
    const aged = (days: number, values: object = {}) => {
      const at = new Date(Date.now() - days * DAY_MS);
      return {
        id: randomUUID(),
        user_id: admin.userId,
        type: 'COMPLETE_TASK',
        leaderboard: 'game1',
        points: 10,
        status: 'completed',
        started_at: at,
        expires_at: at,
        ip: '203.0.113.9',
        user_agent: 'aged',
        metadata: { note: 'aged' },
        ...values,
      };
    };
    const left = async (rows: { id: string }[]) => {
      const kept = await db<{ id: string; ip: string | null; user_agent: string | null; metadata: unknown }>(
        'actions',
      ).whereIn(
        'id',
        rows.map(({ id }) => id),
      );
      return rows.map(({ id }) => {
        const row = kept.find((one) => one.id === id);
        return { address: row?.ip !== null || row.user_agent !== null, metadata: row?.metadata !== null };
      });
    };

    it('clears every address that is old enough, however long ago it came of age', async () => {
      const rows = [1, 29, 31, 40, 60, 92, 95, 120, 4000].map((days) => aged(days));
      await db('actions').insert(rows);
      await forget(db, 90);
      const addresses = async () => (await left(rows)).map(({ address }) => address);
      expect(await addresses()).to.deep.equal([true, true, true, true, true, false, false, false, false]);
      // The time is shortened: what was young enough before is not left out.
      await forget(db, 30);
      expect(await addresses()).to.deep.equal([true, true, false, false, false, false, false, false, false]);
      expect((await left(rows)).every(({ metadata }) => metadata)).to.equal(true);
    });

    it('does so in the workers, which are told how long', async () => {
      const rows = [aged(3), aged(1)];
      await db('actions').insert(rows);
      let workers: RunningTier | undefined;
      const connection = new Redis(stores.redis.url, { maxRetriesPerRequest: null });
      const queue = new Queue('maintenance', { connection, prefix: 'laurel' });
      try {
        workers = await startTier('workers', stores, { PRIVACY_RETENTION_DAYS: '2' });
        await system.workers[0]!.stop();
        await queue.add('forget', {});
        await eventually(async () =>
          expect((await left(rows)).map(({ address }) => address)).to.deep.equal([false, true]),
        );
      } finally {
        await queue.close();
        connection.disconnect();
        await workers?.stop();
      }
    });

    it('clears more rows than one step changes', async () => {
      await db.raw(
        `insert into actions (id, user_id, type, leaderboard, points, status, started_at, expires_at, ip, metadata)
         select 'many-' || n, ?, 'COMPLETE_TASK', 'game1', 1, 'expired', now() - interval '100 days', now(), '203.0.113.8', '{"a": 1}'
         from generate_series(1, 12000) n`,
        [admin.userId],
      );
      const done = await forget(db, 90);
      expect(done.addresses).to.equal(12_000);
      expect(done.metadata).to.be.at.least(12_000);
      const [{ count }] = (await db('actions')
        .where('id', 'like', 'many-%')
        .whereNotNull('metadata')
        .count()) as [{ count: string }];
      expect(count).to.equal('0');
    });

    it('clears metadata of actions that never counted after 7 days, and keeps that of those that did', async () => {
      const states = ['started', 'expired', 'cancelled', 'rejected', 'completed', 'queued'];
      const old = states.map((status) => aged(8, { status }));
      const young = states.map((status) => aged(6, { status }));
      await db('actions').insert([...old, ...young]);
      await forget(db, 90);
      const metadata = async (rows: { id: string }[]) => (await left(rows)).map((row) => row.metadata);
      expect(await metadata(old)).to.deep.equal([false, false, false, false, true, true]);
      expect(await metadata(young)).to.deep.equal(states.map(() => true));
    });

    it('clears addresses of what waits, and of the audit log', async () => {
      const old = new Date(Date.now() - 91 * DAY_MS);
      await db('queued_completions').insert({
        action_id: 'waits-long',
        user_id: admin.userId,
        payload: { ip: '203.0.113.7', userAgent: 'waits', actionId: 'waits-long' },
        accepted_at: old,
        enqueued_at: new Date(Date.now() + DAY_MS),
      });
      await db('audit_log').insert({
        id: randomUUID(),
        at: old,
        actor: admin.userId,
        action: 'admin.sign_in',
        subject: 'aged',
        details: { ip: '203.0.113.7', userAgent: 'aged', by: 'password' },
      });
      await forget(db, 90);
      const queued = await db('queued_completions').where({ action_id: 'waits-long' }).first('payload');
      expect(queued.payload).to.deep.equal({ ip: null, userAgent: null, actionId: 'waits-long' });
      const audited = await db('audit_log').where({ subject: 'aged' }).first('details');
      expect(audited.details).to.deep.equal({ by: 'password' });
      await db('queued_completions').where({ action_id: 'waits-long' }).delete();
    });
  });
});
