import { fileURLToPath } from 'node:url';
import { setFlagsFromString } from 'node:v8';
import { loadConfig, settingWarnings } from '../common/config.ts';
import { closeServer, listen } from '../common/health.ts';
import { createHttpServer } from '../common/http-server.ts';
import { createLogger } from '../common/logger.ts';
import { runTier } from '../common/run-tier.ts';
import { createApi } from './create-api.ts';

// What a request leaves is dead soon after it. Left to itself, V8 would let the heap double before it looks for what is not in
// use any more.
setFlagsFromString('--heap-growing-percent=30');

runTier('api', async (shutdown) => {
  const config = loadConfig(process.env);
  const log = createLogger('api', config.LOG_LEVEL);
  for (const warning of settingWarnings(process.env)) log.warn(warning);
  const api = await createApi(config, log, { webRoot: fileURLToPath(new URL('../web', import.meta.url)) });
  shutdown.defer('api', () => api.close());
  const server = createHttpServer(api.handle, config);
  const port = await listen(server, config.PORT, config.HOST, 'PORT');
  shutdown.defer('server', () => closeServer(server, 3000));
  log.info({ port }, 'api is ready');
});
