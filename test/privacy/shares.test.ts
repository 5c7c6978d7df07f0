import { randomUUID } from 'node:crypto';
import { get } from 'node:http';
import { expect } from 'chai';
import { Redis } from 'ioredis';
import { createDatabase, type Database } from '../../common/postgres.ts';
import { administrator } from '../support/administrator.ts';
import { eventually } from '../support/eventually.ts';
import { closed, DocumentChecks } from '../support/openapi.ts';
import { call, Player } from '../support/player.ts';
import { useStores } from '../support/stores.ts';
import { useSystem } from '../support/system.ts';

const ACTIONS = 5000;

/** The keys of all objects in a JSON value. */
const keysOf = (value: unknown): string[] =>
  typeof value !== 'object' || value === null
    ? []
    : [
        ...(Array.isArray(value) ? [] : Object.keys(value)),
        ...Object.values(value).flatMap((member) => keysOf(member)),
      ];

describe('no caller takes more than a share', function () {
  this.timeout(60_000);
  const stores = useStores();
  const system = useSystem(stores, {
    env: { RATE_LIMIT_CANCEL_PER_MINUTE: '20', RATE_LIMIT_EXPORTS_PER_DAY: '4', RATE_LIMIT_BLOCK_AFTER: '0' },
  });
  const api = (): string => system.api[0]!.url;
  let db: Database;
  let admin: Player;

  before(async () => {
    db = createDatabase({ DATABASE_URL: stores.databaseUrl, DATABASE_POOL_MAX: 2 }, 'test');
    admin = await administrator(stores.databaseUrl, api());
  });
  after(() => db.destroy());

  const exported = (player: Player) => call(api(), 'GET', '/users/me/export', { token: player.token });

  async function busyPlayer(): Promise<Player> {
    const player = await Player.join(api());
    await db.raw(
      `insert into actions (id, user_id, type, leaderboard, points, status, started_at, expires_at, ip, metadata)
       select gen_random_uuid()::text, :user, 'COMPLETE_TASK', 'game1', 1, 'cancelled', now(), now(), '203.0.113.8',
         jsonb_build_object('note', repeat('x', 900))
       from generate_series(1, :count) n`,
      { user: player.userId, count: ACTIONS },
    );
    return player;
  }

  /** Begins an export, and reads nothing but its head. */
  async function begin(player: Player): Promise<{ status: number | undefined; cut: () => void }> {
    return new Promise((resolve, reject) => {
      const request = get(`${api()}/api/v1/users/me/export`, {
        headers: { authorization: `Bearer ${player.token}` },
      });
      request.once('error', reject);
      request.once('response', (response) => {
        response.pause();
        response.on('error', () => undefined);
        request.on('error', () => undefined);
        resolve({ status: response.statusCode, cut: () => response.socket.resetAndDestroy() });
      });
    });
  }

  describe('exports', () => {
    it('hold everything that is kept of a user', async () => {
      const player = await Player.join(api());
      const friend = await Player.join(api());
      await call(api(), 'PUT', `/users/me/friends/${friend.userId}`, { token: player.token });
      const started = await call(api(), 'POST', '/actions', {
        token: player.token,
        body: {
          type: 'COMPLETE_MISSION',
          leaderboard: 'game1',
          metadata: { level: 'seven', actor: 'Ada', rounds: [{ seq: 1, secretDoor: true }] },
        },
      });
      const done = await player.complete(api(), started.body);
      expect(done.status).to.equal(200);
      await call(api(), 'POST', `/admin/users/${player.userId}/adjustments`, {
        token: admin.token,
        headers: { 'idempotency-key': randomUUID() },
        body: { leaderboard: 'game1', delta: 5, reason: 'a gift' },
      });
      const [period] = await db('board_periods')
        .insert({
          leaderboard: 'game1',
          period: 'daily',
          starts_at: '2026-01-01T00:00:00Z',
          ends_at: '2026-01-02T00:00:00Z',
        })
        .returning('id');
      await db('standings').insert({
        board_period_id: period.id,
        rank: 3,
        user_id: player.userId,
        score: 77,
        reached_at: '2026-01-01T10:00:00Z',
      });
      await db('queued_completions').insert({
        action_id: `waits-${player.userId}`,
        user_id: player.userId,
        payload: { ip: '203.0.113.9', actionId: 'waits', replyTo: 'x', tokenHash: 'ab', sig: 'cd' },
        accepted_at: new Date(),
        enqueued_at: new Date(Date.now() + 3_600_000),
      });
      await eventually(async () =>
        expect(await db('completion_ranks').where({ action_id: started.body.actionId })).to.have.length(1),
      );

      const { status, body, headers } = await exported(player);
      expect(status).to.equal(200);
      expect(headers['content-type']).to.match(/^application\/json/);
      expect(headers['cache-control']).to.equal('no-store');
      expect(headers['transfer-encoding']).to.equal('chunked');
      expect(body.user).to.include({ userId: player.userId, email: `${player.username}@example.org` });
      expect(body.sessions).to.have.length(1);
      expect(body.scores.map(({ leaderboard }: any) => leaderboard)).to.include.members(['game1', 'global']);
      expect(body.standings[0]).to.include({ leaderboard: 'game1', rank: 3, score: 77 });
      expect(body.ledger).to.have.length(2);
      expect(body.ledger[0]).to.include({
        kind: 'completion',
        transactionId: done.body.transactionId,
        globalDelta: 100,
        rankPrevious: done.body.rank.previous,
        rankCurrent: done.body.rank.current,
      });
      expect(body.ledger[1]).to.include({ kind: 'adjustment', reason: 'a gift' });
      expect(body.actions[0].metadata).to.deep.equal({
        level: 'seven',
        actor: 'Ada',
        rounds: [{ seq: 1, secretDoor: true }],
      });
      expect(body.queuedCompletions[0].payload.ip).to.equal('203.0.113.9');
      expect(body.achievements.map(({ key }: any) => key)).to.include('score-100');
      expect(body.friends[0].userId).to.equal(friend.userId);
      expect(body.auditLog[0]).to.include({ action: 'score.adjust' });
      // As the document says, no member more or less; and named as everywhere in the API, at any depth.
      const { body: document } = await call(api(), 'GET', '//openapi.json');
      const schema = ['components', 'schemas', 'Export'];
      expect(new DocumentChecks(closed(document)).errors(schema, body)).to.deep.equal([]);
      expect(keysOf(body).filter((key) => key.includes('_'))).to.deep.equal([]);
      // Neither credentials, nor who the administrator was.
      const text = JSON.stringify(body);
      expect(text).not.to.match(/password|token_?hash|"sig"/i);
      expect(text).not.to.include(admin.userId);
      await db('queued_completions')
        .where({ action_id: `waits-${player.userId}` })
        .delete();
    });

    it('hold every row of a long history, in pieces', async () => {
      const player = await busyPlayer();
      const { status, body } = await exported(player);
      expect(status).to.equal(200);
      expect(new Set(body.actions.map(({ actionId }: any) => actionId)).size).to.equal(ACTIONS);
    });

    it('run one at a time a user; one that is cut gives its place back, and harms nobody', async () => {
      const player = await busyPlayer();
      const first = await begin(player);
      expect(first.status).to.equal(200);
      const second = await exported(player);
      expect([second.status, second.body.code]).to.deep.equal([429, 'RATE_LIMITED']);
      expect(Number(second.headers['retry-after'])).to.be.at.least(1);
      first.cut();
      await eventually(async () => expect((await exported(player)).status).to.equal(200));
      expect((await call(api(), 'GET', '//healthz')).status).to.equal(200);
    });

    it('run a few at a time a process', async () => {
      const players = await Promise.all(Array.from({ length: 4 }, () => busyPlayer()));
      const running = await Promise.all(players.slice(0, 3).map(begin));
      expect(running.map(({ status }) => status)).to.deep.equal([200, 200, 200]);
      const refused = await exported(players[3]!);
      expect([refused.status, refused.body.code]).to.deep.equal([503, 'UNAVAILABLE']);
      expect(refused.headers['retry-after']).to.equal('5');
      running.forEach(({ cut }) => cut());
      await eventually(async () => expect((await exported(players[3]!)).status).to.equal(200));
    });

    it('are limited a day', async () => {
      const player = await Player.join(api());
      for (let i = 0; i < 4; i += 1) {
        await eventually(async () => expect((await exported(player)).status).to.equal(200));
      }
      const { status, headers } = await exported(player);
      expect(status).to.equal(429);
      expect(Number(headers['retry-after'])).to.be.within(86_000, 86_400);
    });
  });

  it('heavy histories leave starts their connections', async () => {
    const player = await Player.join(api());
    // The pool of reads is stuck: every history waits for a table that is locked.
    const lock = await db.transaction();
    try {
      await lock.raw('lock table daily_gains in access exclusive mode');
      const histories = Array.from({ length: 40 }, () =>
        call(api(), 'GET', `/users/${player.userId}/history?period=365d`),
      );
      for (let i = 0; i < 5; i += 1) expect((await player.play(api())).status).to.equal(200);
      for (const { status, headers } of await Promise.all(histories)) {
        expect(status).to.equal(503);
        expect(headers['retry-after']).not.to.equal(undefined);
      }
    } finally {
      await lock.rollback();
    }
    expect((await call(api(), 'GET', `/users/${player.userId}/history?period=365d`)).status).to.equal(200);
  });

  it('starting and cancelling is limited: 20 cancelled a minute, and others are not touched', async () => {
    const player = await Player.join(api());
    const cancel = async () => {
      const { body } = await player.start(api());
      return call(api(), 'POST', `/actions/${body.actionId}/cancel`, { token: player.token });
    };
    for (let i = 0; i < 20; i += 1) expect((await cancel()).status).to.equal(200);
    const refused = await cancel();
    expect([refused.status, refused.body.code]).to.deep.equal([429, 'RATE_LIMITED']);
    expect(Number(refused.headers['retry-after'])).to.be.within(1, 60);
    expect(refused.headers['ratelimit-policy']).to.equal('"cancel";q=20;w=60');
    expect((await player.play(api())).status).to.equal(200);
    const other = await Player.join(api());
    const { body } = await other.start(api());
    const cancelled = await call(api(), 'POST', `/actions/${body.actionId}/cancel`, { token: other.token });
    expect(cancelled.status).to.equal(200);
  });

  it('results are kept for as long as a token can ask; a later replay is answered from Postgres', async () => {
    const player = await Player.join(api());
    const { body: action } = await player.start(api());
    const done = await player.complete(api(), action);
    expect(done.status).to.equal(200);
    const redis = new Redis(stores.redis.url);
    try {
      const [key] = await redis.keys(`*:action:${action.actionId}`);
      expect(await redis.ttl(key!)).to.be.within(300, 330);
      await eventually(async () =>
        expect(await db('completion_ranks').where({ action_id: action.actionId })).to.have.length(1),
      );
      await redis.del(key!);
    } finally {
      redis.disconnect();
    }
    const replay = await player.complete(api(), action);
    expect([replay.status, replay.body.code]).to.deep.equal([409, 'ACTION_ALREADY_COMPLETED']);
    expect(replay.body.result).to.deep.equal(done.body);
  });
});
