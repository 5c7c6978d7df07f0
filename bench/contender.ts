/**
 * One side of `compare`: a checkout's own build beside stores of its own, which plays for as long as it is told to. In a process of
 * its own, so that each side runs its own checkout throughout.
 */
import { on } from 'node:events';
import { parseArgs } from 'node:util';
import { buildIfStale } from './build.ts';
import { DONE } from './generators/play-messages.ts';
import { readOptions } from './options.ts';
import { findDisagreements } from './proof.ts';
import { withLaurel, withPlayers } from './session.ts';
import { stopAllServers } from './system.ts';

/** What `compare` tells a side: how long to play, or that it is over. */
export type ContenderOrder = { readonly seconds: number } | 'end';

async function contend(): Promise<void> {
  const { values } = parseArgs({
    options: {
      size: { type: 'string', default: 'normal' },
      'in-flight': { type: 'string', default: '128' },
      'from-sources': { type: 'boolean', default: false },
      'database-url': { type: 'string' },
      'redis-url': { type: 'string' },
    },
  });
  const options = readOptions(['submit', '--size', values.size, '--in-flight', values['in-flight']]);
  if (!values['from-sources']) buildIfStale();
  const [databaseUrl, redisUrl] = [values['database-url'], values['redis-url']];
  const urls = databaseUrl !== undefined && redisUrl !== undefined ? { databaseUrl, redisUrl } : undefined;
  const plan = { fromSources: values['from-sources'] };
  await withPlayers(options, { urls }, (stores, players) =>
    withLaurel({ options, stores, players, plan }, async ({ session }) => {
      process.send?.(DONE);
      for await (const order of orders()) {
        if (order === 'end') break;
        process.send?.(await session.play(order));
      }
      process.send?.(await findDisagreements(stores, session.acknowledged, session.told));
    }),
  );
}

/** What it is told, until nobody is there any more. */
async function* orders(): AsyncGenerator<ContenderOrder> {
  if (!process.connected) return;
  for await (const [order] of on(process, 'message', { close: ['disconnect'] }))
    yield order as ContenderOrder;
}

contend().then(
  () => process.exit(0),
  async (error: unknown) => {
    console.error(error);
    await stopAllServers();
    process.exit(1);
  },
);
