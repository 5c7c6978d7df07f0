/** `npm run bench`: measures Laurel on this machine, beside a scoreboard written by hand. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { buildIfStale, root } from './build.ts';
import { compare } from './compare.ts';
import { converge } from './converge.ts';
import { saveMachine, saveReport } from './docs.ts';
import { endurance } from './endurance.ts';
import { fanout } from './fanout.ts';
import { describeMachine, describeStores, type Machine } from './measure/machine.ts';
import { readOptions, type BenchmarkName, type Options } from './options.ts';
import { overload } from './overload.ts';
import { ranks } from './ranks.ts';
import { read } from './read.ts';
import { rebuild } from './rebuild.ts';
import { renderReport, type Report } from './report.ts';
import { soak } from './soak.ts';
import { startup } from './startup.ts';
import { startStores } from './stores.ts';
import { submit } from './submit.ts';
import { stopAllServers } from './system.ts';

const run: Record<BenchmarkName, (options: Options) => Promise<Report>> = {
  submit: (options) => submit(options),
  read,
  ranks,
  rebuild,
  fanout: (options) => (options.soak ? soak(options) : fanout(options)),
  converge,
  startup,
  overload: (options) => overload(options),
  endurance: (options) => endurance(options),
  compare: (options) => compare(options),
};

function keep(machine: Machine, settings: Record<string, string>, report: Report): void {
  const folder = join(root, 'bench/results');
  mkdirSync(folder, { recursive: true });
  const file = join(
    folder,
    `${report.name}-${new Date().toISOString().replaceAll(':', '-').slice(0, 19)}.json`,
  );
  writeFileSync(file, `${JSON.stringify({ machine, settings, ...report }, null, 2)}\n`);
}

/** How the stores that each benchmark starts are set. */
async function storeSettings(): Promise<Record<string, string>> {
  const stores = await startStores();
  try {
    return await describeStores(stores.databaseUrl, stores.redisUrl);
  } finally {
    await stores.stop();
  }
}

async function main(): Promise<void> {
  const options = readOptions(process.argv.slice(2));
  buildIfStale();
  const settings = await storeSettings();
  for (const name of options.names) {
    const machine = describeMachine();
    console.log(`\n## ${name}   (load before: ${machine.loadBefore} on ${machine.cores} cores)\n`);
    const report = await run[name](options);
    console.log(renderReport(report));
    keep(machine, settings, report);
    if (options.save) {
      saveMachine(machine, settings);
      saveReport(machine, report);
    }
    if (report.faults.length > 0) process.exitCode = 1;
  }
}

for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  // The stores end with this process by themselves.
  process.once(signal, () => void stopAllServers().finally(() => process.exit(130)));
}

main().catch(async (error: unknown) => {
  console.error(error instanceof Error ? error.message : error);
  await stopAllServers();
  process.exit(1);
});
