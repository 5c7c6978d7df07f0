import { loadConfig, settingWarnings } from '../common/config.ts';
import { closeServer, createHealthServer, listen } from '../common/health.ts';
import { createLogger } from '../common/logger.ts';
import { runTier } from '../common/run-tier.ts';
import { createWorkers } from './create-workers.ts';

runTier('workers', async (shutdown) => {
  const config = loadConfig(process.env);
  const log = createLogger('workers', config.LOG_LEVEL);
  for (const warning of settingWarnings(process.env)) log.warn(warning);
  const workers = await createWorkers(config, log);
  shutdown.defer('workers', () => workers.close());
  const server = createHealthServer(workers.health, config);
  const port = await listen(server, config.WORKERS_PORT, config.HOST, 'WORKERS_PORT');
  shutdown.defer('server', () => closeServer(server, 500));
  log.info({ port, partitions: config.QUEUE_PARTITIONS }, 'workers are ready');
});
