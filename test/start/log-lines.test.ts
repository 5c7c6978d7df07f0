import { createServer } from 'node:http';
import { Writable } from 'node:stream';
import { expect } from 'chai';
import { createApi } from '../../api/create-api.ts';
import { loadConfig } from '../../common/config.ts';
import { closeServer, listen } from '../../common/health.ts';
import { createLogger, type Logger } from '../../common/logger.ts';
import { createRealtime } from '../../realtime/create-realtime.ts';
import { createWorkers } from '../../workers/create-workers.ts';
import { Listener } from '../live/viewers.ts';
import { eventually } from '../support/eventually.ts';
import { ambiguous } from '../support/log-lines.ts';
import { call, Player } from '../support/player.ts';
import { useStores } from '../support/stores.ts';
import { environmentOf, seed } from '../support/system.ts';

describe('the log', function () {
  this.timeout(60_000);
  const stores = useStores();

  it('has no line with a key twice, on any tier', async () => {
    await seed(stores.databaseUrl);
    const lines: Record<string, string[]> = { api: [], workers: [], realtime: [] };
    const logOf = (tier: string): Logger =>
      createLogger(
        tier,
        'trace',
        new Writable({
          write(chunk, _encoding, done) {
            lines[tier]?.push(String(chunk));
            done();
          },
        }),
      );
    const config = loadConfig(environmentOf(stores, {}));
    const workers = await createWorkers(config, logOf('workers'));
    const api = await createApi(config, logOf('api'));
    const realtime = await createRealtime(config, logOf('realtime'));
    const server = createServer(api.handle);
    realtime.attach(server);
    const url = `http://127.0.0.1:${await listen(server, 0, '127.0.0.1', 'PORT')}`;
    try {
      const player = await Player.join(url);
      await eventually(async () => expect((await player.play(url)).status).to.equal(200));
      expect((await call(url, 'GET', '/users/me', { token: 'x' })).status).to.equal(401);
      expect((await new Listener(url, 'x').handshake).code).to.equal('UNAUTHENTICATED');
      expect(
        (await call(url, 'POST', '/auth/login', { body: { username: 'nobody', password: 'guessed' } }))
          .status,
      ).to.equal(401);
    } finally {
      await Promise.all([realtime.close(), api.close(), workers.close(), closeServer(server, 100)]);
    }
    for (const [tier, written] of Object.entries(lines)) {
      expect(ambiguous(written), tier).to.deep.equal([]);
    }
    expect(lines['api']).not.to.have.length(0);
  });
});
