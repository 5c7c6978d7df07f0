import { expect } from 'chai';
import { Redis } from 'ioredis';
import { after, before } from 'mocha';
import { accessToken } from '../security/forge.ts';
import { eventually } from '../support/eventually.ts';
import { call } from '../support/player.ts';
import { createDatabase, dropDatabase } from '../support/postgres.ts';
import { useStores } from '../support/stores.ts';
import { environmentOf, seed, startTier, type RunningTier } from '../support/system.ts';
import { Listener } from './viewers.ts';

interface Installation {
  readonly api: RunningTier;
  readonly realtime: RunningTier;
  readonly workers: RunningTier;
  stop(): Promise<void>;
}

// Both installations trust the same identity service, so that she is the same user in each.
const SHE = 'she-plays-on-staging';

for (const [where, database] of [
  ['in one Redis database', 0],
  ['in two databases of one Redis server', 4],
] as const) {
  describe(`two installations ${where}`, function () {
    this.timeout(60_000);
    const stores = useStores();
    const channels: string[] = [];
    let otherDatabase: string;
    let production: Installation;
    let staging: Installation;
    let spy: Redis;
    let client: Redis;

    const install = async (env: Record<string, string>): Promise<Installation> => {
      const settings = { USER_PROVISIONING: 'auto', ...env };
      await seed(environmentOf(stores, settings)['DATABASE_URL'] ?? '');
      const [api, workers, realtime] = await Promise.all(
        (['api', 'workers', 'realtime'] as const).map((tier) => startTier(tier, stores, settings)),
      );
      if (!api || !workers || !realtime) throw new Error('a tier did not start');
      const tiers = [api, realtime, workers];
      await eventually(
        async () => {
          for (const tier of tiers) expect((await fetch(`${tier.url}/readyz`)).status).to.equal(200);
        },
        { timeoutMs: 20_000 },
      );
      return {
        api,
        realtime,
        workers,
        stop: async () => void (await Promise.all(tiers.map((t) => t.stop()))),
      };
    };

    before(async () => {
      otherDatabase = await createDatabase();
      spy = new Redis(stores.redis.url);
      client = new Redis(stores.redis.url);
      spy.on('pmessage', (_pattern: string, channel: string) => channels.push(channel));
      await spy.psubscribe('*');
      production = await install({});
      staging = await install({
        DATABASE_URL: otherDatabase,
        REDIS_URL: `${stores.redis.url}/${database}`,
        REDIS_PREFIX: 'staging',
      });
    });
    after(async () => {
      await Promise.all([production, staging].map((installation) => installation?.stop()));
      spy.disconnect();
      client.disconnect();
      await dropDatabase(otherDatabase);
    });

    const token = (sub: string): string => accessToken({ sub });

    const play = async ({ api }: Installation, user: string): Promise<void> => {
      const auth = { token: token(user) };
      const started = await call(api.url, 'POST', '/actions', { ...auth, body: { type: 'COMPLETE_TASK' } });
      expect(started.status).to.equal(201);
      const { actionId, actionToken } = started.body;
      const done = await call(api.url, 'POST', `/actions/${actionId}/complete`, {
        ...auth,
        body: { actionToken },
      });
      expect(done.status).to.equal(200);
    };

    const listen = async (
      { realtime }: Installation,
      user: string,
      spectated?: string,
    ): Promise<Listener> => {
      const listener = new Listener(realtime.url, token(user));
      expect((await listener.handshake).code).to.equal('connected');
      await listener.ask('join:leaderboard', { leaderboard: 'global' });
      if (spectated !== undefined) await listener.ask('spectate:user', { userId: spectated });
      return listener;
    };
    const events = ({ heard }: Listener): string[] => heard.map(({ event }) => event);

    it('hear nothing of each other, and share no key, queue or channel', async () => {
      for (const { api } of [production, staging])
        expect((await call(api.url, 'GET', '/users/me', { token: token(SHE) })).status).to.equal(200);
      const [her, spectator, hers] = await Promise.all([
        listen(production, SHE),
        listen(production, 'a-spectator', SHE),
        listen(staging, SHE),
      ]);
      try {
        await play(staging, SHE);
        await eventually(() =>
          expect(events(hers)).to.include.members(['score:update', 'leaderboard:update']),
        );
        // What production says afterwards is heard after all that came across before it.
        await play(production, 'a-sentinel');
        await eventually(() => expect(events(her)).to.include('leaderboard:update'));
        for (const { heard } of [her, spectator]) {
          expect(heard.filter(({ event }) => event !== 'leaderboard:update')).to.deep.equal([]);
          expect(JSON.stringify(heard)).not.to.include(SHE);
        }
        const standing = await call(production.api.url, 'GET', `/leaderboards/global/users/${SHE}`);
        expect(standing.body).to.include({ score: 0, rank: null });
      } finally {
        for (const { socket } of [her, spectator, hers]) socket.disconnect();
      }

      const keys = await client.keys('*');
      await client.select(4);
      keys.push(...(await client.keys('*')));
      await client.select(0);
      const live = (await client.pubsub('CHANNELS', '*')) as string[];
      for (const names of [keys, live, channels]) {
        expect(names.filter((name) => !/^(laurel|staging)[:#]/.test(name))).to.deep.equal([]);
        for (const prefix of ['laurel', 'staging'])
          expect(names.filter((name) => name.startsWith(prefix)).length, prefix).to.be.above(0);
      }
    });
  });
}
