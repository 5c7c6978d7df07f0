import { expect } from 'chai';
import { after, before } from 'mocha';
import { loadConfig, settingWarnings } from '../../common/config.ts';
import { createDatabase } from '../../common/postgres.ts';
import { redisRisks } from '../../common/redis-safety.ts';
import { Redis } from '../../common/redis.ts';
import { eventually } from '../support/eventually.ts';
import { call, Player } from '../support/player.ts';
import { useStores } from '../support/stores.ts';
import { seed, startTier, useSystem, type RunningTier } from '../support/system.ts';

const production = { NODE_ENV: 'production', ADMIN_PASSWORD: '' };
const withAnswer = async (tier: RunningTier): Promise<{ status: number; body: any }> => {
  const response = await fetch(`${tier.url}/readyz`);
  return { status: response.status, body: await response.json() };
};

describe('a Redis that puts accepted work at risk', function () {
  this.timeout(60_000);
  const stores = useStores();
  let redis: Redis;
  before(async () => {
    redis = new Redis(stores.redis.url);
    await seed(stores.databaseUrl);
    await redis.config('SET', 'maxmemory-policy', 'allkeys-lru');
    await redis.config('SET', 'appendonly', 'no');
  });
  after(() => redis.disconnect());

  it('is refused in production, with what to set', async () => {
    for (const tier of ['api', 'workers', 'realtime'] as const) {
      const error: unknown = await startTier(tier, stores, production).catch((reason: unknown) => reason);
      expect(String(error), tier).to.match(
        /ConfigError.*appendonly yes.*noeviction.*ALLOW_UNSAFE_REDIS=true/s,
      );
    }
  });

  it('is warned of elsewhere, and where the operator has allowed it, until it is mended', async () => {
    const tiers = await Promise.all([
      startTier('api', stores),
      startTier('api', stores, { ...production, ALLOW_UNSAFE_REDIS: 'true' }),
    ]);
    try {
      for (const tier of tiers) {
        const { status, body } = await eventually(async () => {
          const answer = await withAnswer(tier);
          expect(answer.status).to.equal(200);
          return answer;
        });
        expect(status).to.equal(200);
        expect(body.warnings.join()).to.match(/append-only.*allkeys-lru/);
      }
      await redis.config('SET', 'maxmemory-policy', 'noeviction');
      await redis.config('SET', 'appendonly', 'yes');
      await stores.redis.restart(); // as a fail-over to a server that is set up rightly
      for (const tier of tiers)
        await eventually(
          async () => {
            const { status, body } = await withAnswer(tier);
            expect(status).to.equal(200);
            expect(body).not.to.have.property('warnings');
          },
          { timeoutMs: 15_000 },
        );
    } finally {
      await Promise.all(tiers.map((tier) => tier.stop()));
    }
  });

  it('is known also where CONFIG is forbidden', async () => {
    await redis.config('SET', 'maxmemory-policy', 'volatile-ttl');
    await redis.acl('SETUSER', 'app', 'on', '>secret', '~*', '&*', '+@all', '-config');
    const url = new URL(stores.redis.url);
    const app = new Redis(`redis://app:secret@${url.host}`);
    try {
      expect((await redisRisks(app)).join()).to.match(/volatile-ttl/);
    } finally {
      app.disconnect();
    }
  });
});

describe('a database whose schema is not the one needed', function () {
  this.timeout(60_000);
  const stores = useStores();

  it('keeps every tier from being ready, and says which command mends it', async () => {
    const db = createDatabase({ DATABASE_URL: stores.databaseUrl, DATABASE_POOL_MAX: 1 }, 'test');
    const [newest] = await db<{ id: number; name: string }>('knex_migrations').orderBy('id', 'desc').limit(1);
    await db('knex_migrations')
      .where({ id: newest?.id ?? 0 })
      .delete();
    const tiers = await Promise.all(
      (['api', 'workers', 'realtime'] as const).map((tier) => startTier(tier, stores)),
    );
    try {
      for (const tier of tiers) {
        const { status, body } = await withAnswer(tier);
        expect(status).to.equal(503);
        expect(body.checks.schema).to.equal(false);
        expect(body.reasons.schema).to.include(newest?.name).and.to.include('laurel migrate');
      }
      await db('knex_migrations').insert(newest);
      await db('function_set').update({ hash: 'of another version' });
      expect((await withAnswer(tiers[0]!)).body.reasons.schema).to.match(/functions.*laurel migrate/);
    } finally {
      await Promise.all(tiers.map((tier) => tier.stop()));
      await db.destroy();
    }
  });
});

describe('settings that cannot work', () => {
  const refusal = (env: Record<string, string>): string => {
    try {
      loadConfig(env);
      return 'taken';
    } catch (error) {
      return String(error);
    }
  };
  for (const [name, value, reason] of [
    ['CORS_ORIGINS', '*', /CORS_ORIGINS must not be `\*`: list the origins/],
    ['CORS_ORIGINS', 'https://game.example/path', /scheme and host only/],
    ['REDIS_CLUSTER_NODES', 'a:1,b:2', /REDIS_CLUSTER_NODES is not supported by this version: take it out/],
    ['DATABASE_REPLICA_URL', 'postgres://replica/x', /DATABASE_REPLICA_URL is not supported/],
    ['DATABASE_URL', 'postgres://db/x?sslmode=on', /sslmode=on.*disable, allow, prefer/],
    ['REDIS_PREFIX', 'a:b', /REDIS_PREFIX must be 1 to 40 letters/],
  ] as const)
    it(`are refused: ${name}=${value}`, () => expect(refusal({ [name]: value })).to.match(reason));

  it('are warned of where platforms set them for everybody', () => {
    expect(settingWarnings({ OTEL_EXPORTER_OTLP_ENDPOINT: 'http://collector:4318' }).join()).to.match(
      /does nothing/,
    );
    expect(settingWarnings({})).to.deep.equal([]);
  });

  it('are taken in the spelling that browsers use', () => {
    const { CORS_ORIGINS } = loadConfig({ CORS_ORIGINS: 'https://Game.example/,http://localhost:*' });
    expect(CORS_ORIGINS).to.deep.equal(['https://game.example', 'http://localhost:*']);
  });
});

describe('a server far from Greenwich', function () {
  this.timeout(60_000);
  const stores = useStores();
  const system = useSystem(stores, { processes: true, env: { TZ: 'Asia/Kolkata' } });

  it('reads and writes times of UTC', async () => {
    const { url } = system.api[0]!;
    const player = await Player.join(url);
    const played = await player.play(url);
    expect(Math.abs(Date.parse(played.body.completedAt) - Date.now())).to.be.below(60_000);
    expect(played.body.completedAt).to.match(/Z$/);
    const history = await call(url, 'GET', `/users/${player.userId}/history`);
    expect(history.body.points.at(-1).date).to.equal(new Date().toISOString().slice(0, 10));
    const board = await call(url, 'GET', '/leaderboards/global?period=daily');
    expect(board.body.periodStart).to.match(/T00:00:00\.000Z$/);
  });
});
