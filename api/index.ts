import { createServer } from 'node:http';
import { fileURLToPath } from 'node:url';
import { loadConfig } from '../common/config.ts';
import { closeServer, listen } from '../common/health.ts';
import { createLogger } from '../common/logger.ts';
import { runTier } from '../common/run-tier.ts';
import { createApi } from './create-api.ts';

runTier('api', async (shutdown) => {
  const config = loadConfig(process.env);
  const log = createLogger('api', config.LOG_LEVEL);
  const api = await createApi(config, log, { webRoot: fileURLToPath(new URL('../web', import.meta.url)) });
  shutdown.defer('api', () => api.close());
  const server = createServer(api.handle);
  const port = await listen(server, config.PORT, config.HOST, 'PORT');
  shutdown.defer('server', () => closeServer(server, 3000));
  log.info({ port }, 'api is ready');
});
