/**
 * One side of `compare`: a checkout's own build beside stores of its own, which plays for as long as it is told to. In a process of
 * its own, so that each side runs its own checkout throughout.
 */
import { on } from 'node:events';
import { parseArgs } from 'node:util';
import { buildIfStale } from './build.ts';
import { DONE } from './generators/play-messages.ts';
import { readOptions } from './options.ts';
import { createPlayers, signIn } from './players.ts';
import { findDisagreements } from './proof.ts';
import { settleStores, startStores, storesAt, prepare } from './stores.ts';
import { laurelProcesses, PLAYERS, SMOKE_PLAYERS, startSession } from './submit.ts';
import { startSystem, stopAllServers } from './system.ts';

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
  const urls = values['database-url'] && values['redis-url'];
  const stores = urls
    ? await storesAt(values['database-url'] ?? '', values['redis-url'] ?? '')
    : await startStores();
  try {
    if (urls) await prepare(stores.databaseUrl);
    const players = await createPlayers(
      stores.databaseUrl,
      options.size === 'smoke' ? SMOKE_PLAYERS : PLAYERS,
    );
    const system = await startSystem(stores, {
      api: 1,
      workers: 1,
      realtime: 1,
      fromSources: values['from-sources'],
    });
    const subject = laurelProcesses(system, stores);
    const session = startSession(subject, players, options, 0);
    try {
      await settleStores(stores);
      await signIn(subject.url, players);
      process.send?.(DONE);
      for await (const order of orders()) {
        if (order === 'end') break;
        process.send?.(await session.play(order));
      }
      process.send?.(await findDisagreements(stores, session.acknowledged, ['global', 'game1', 'game2']));
    } finally {
      await session.stop();
      await system.stop();
    }
  } finally {
    await stores.stop();
  }
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
