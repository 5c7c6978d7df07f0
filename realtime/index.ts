import { setFlagsFromString } from 'node:v8';
import { loadConfig, settingWarnings } from '../common/config.ts';
import { closeServer, listen } from '../common/health.ts';
import { createHttpServer } from '../common/http-server.ts';
import { createLogger } from '../common/logger.ts';
import { runTier } from '../common/run-tier.ts';
import { createRealtime } from './create-realtime.ts';

// Connections stay for hours, so what is in use hardly changes. Left to itself, V8 would let the heap double before it looks
// for what is not in use any more; that costs some milliseconds a minute, and memory is what limits the clients of an instance.
setFlagsFromString('--heap-growing-percent=30');

runTier('realtime', async (shutdown) => {
  const config = loadConfig(process.env);
  const log = createLogger('realtime', config.LOG_LEVEL);
  for (const warning of settingWarnings(process.env)) log.warn(warning);
  const realtime = await createRealtime(config, log);
  const server = createHttpServer((request, response) => {
    if (realtime.health.handle(request, response) || realtime.handle(request, response)) return;
    response.writeHead(404).end();
  }, config);
  realtime.attach(server);
  const port = await listen(server, config.REALTIME_PORT, config.HOST, 'REALTIME_PORT');
  shutdown.defer('server', () => closeServer(server, 500));
  shutdown.defer('realtime', () => realtime.close());
  log.info({ port }, 'realtime is ready');
});
