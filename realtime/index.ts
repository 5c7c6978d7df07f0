import { createServer } from 'node:http';
import { loadConfig } from '../common/config.ts';
import { closeServer, listen } from '../common/health.ts';
import { createLogger } from '../common/logger.ts';
import { runTier } from '../common/run-tier.ts';
import { createRealtime } from './create-realtime.ts';

runTier('realtime', async (shutdown) => {
  const config = loadConfig(process.env);
  const log = createLogger('realtime', config.LOG_LEVEL);
  const realtime = await createRealtime(config, log);
  const server = createServer((request, response) => {
    if (realtime.health.handle(request, response) || realtime.handle(request, response)) return;
    response.writeHead(404).end();
  });
  realtime.attach(server);
  const port = await listen(server, config.REALTIME_PORT, config.HOST, 'REALTIME_PORT');
  shutdown.defer('server', () => closeServer(server, 500));
  shutdown.defer('realtime', () => realtime.close());
  log.info({ port }, 'realtime is ready');
});
