import { setTimeout as delay } from 'node:timers/promises';
import { forkChild, type Child } from './child.ts';
import { HttpLine } from './generators/http-line.ts';
import type { Joined, MeasureOrder, Received, WatchOrder } from './generators/watch-messages.ts';
import { Milliseconds, type Latency } from './measure/latencies.ts';
import { usageOf, usageOfTree } from './measure/processes.ts';
import { createPlayers, type BenchPlayer } from './players.ts';
import type { BenchStores } from './stores.ts';
import { startSystem, type ServerProcess } from './system.ts';

export const CHANGES_PER_SECOND = 5;
const CLIENTS_A_GENERATOR = 2500;
const SETTLE_MS = 2000;

/** What the clients heard in some time, all together. */
export interface Heard {
  readonly framesPerSecond: number;
  readonly changesPerSecond: number;
  readonly lateness: Latency;
  readonly reconnected: number;
  /** connections lost, clients that could not come back, frames that do not follow on, completions that were not answered 200 */
  readonly errors: number;
  /** shares of one core: of the realtime process, of the clients, and of everything else */
  readonly cpu: { readonly realtime: number; readonly clients: number; readonly others: number };
}

export interface AudiencePlan {
  readonly clients: number;
  /** from the sources, for a test that must not wait for a build; else from dist/ */
  readonly fromSources?: boolean;
  /** a folder for CPU profiles */
  readonly profiles?: string | undefined;
}

/** A system of one realtime process with a board whose top 10 keeps changing, and clients that watch it. */
export interface Audience {
  readonly server: ServerProcess;
  readonly rssBeforeMb: number;
  readonly connectsPerSecond: number;
  /** what went wrong so far: any of it, and the figures do not count */
  readonly faults: readonly string[];
  listen(seconds: number, reconnectsPerSecond?: number): Promise<Heard>;
  stop(): Promise<void>;
}

/** Starts all of it; ends when every client watches the board, or was refused. */
export async function gatherAudience(stores: BenchStores, plan: AudiencePlan): Promise<Audience> {
  const { clients } = plan;
  const system = await startSystem(stores, {
    api: 1,
    workers: 1,
    realtime: 1,
    // Ten players alone make all the changes; and how fast clients can be let in is what is measured.
    env: {
      RATE_LIMIT_COMPLETE_PER_MINUTE: '0',
      RATE_LIMIT_START_PER_MINUTE: '0',
      REALTIME_CONNECTS_PER_SECOND: '0',
    },
    fromSources: plan.fromSources === true,
    profiles: plan.profiles,
  });
  const generators: Child[] = [];
  const changes = startChanges(system.api[0]?.url ?? '', await createPlayers(stores.databaseUrl, 10));
  const faults: string[] = [];
  const stop = async (): Promise<void> => {
    await changes.stop();
    await Promise.all(generators.map((generator) => generator.stop()));
    await system.stop();
  };
  try {
    const [server] = system.realtime;
    if (!server) throw new Error('There is no realtime process.');
    const watchers = await createPlayers(stores.databaseUrl, clients);
    await delay(SETTLE_MS);
    const rssBeforeMb = usageOf(server.pid).rssMb;
    for (let first = 0; first < clients; first += CLIENTS_A_GENERATOR)
      generators.push(forkChild(new URL('generators/watch.ts', import.meta.url)));
    generators.forEach((generator, i) => {
      const tokens = watchers
        .slice(i * CLIENTS_A_GENERATOR, (i + 1) * CLIENTS_A_GENERATOR)
        .map(({ token }) => token);
      const order: WatchOrder = { url: server.url.replace('http', 'ws'), tokens, leaderboard: 'global' };
      generator.send(order);
    });
    const joined = await Promise.all(generators.map((generator) => generator.receive<Joined>()));
    const refused = joined.reduce((sum, one) => sum + one.refused, 0);
    if (refused > 0) faults.push(`${refused} of ${clients} clients were refused`);
    await delay(SETTLE_MS);

    const others = [...system.api, ...system.workers].map(({ pid }) => pid);
    const cpuMs = () => ({
      realtime: usageOf(server.pid).cpuMs,
      clients: generators.reduce((sum, { pid }) => sum + usageOf(pid).cpuMs, 0),
      others:
        others.reduce((sum, pid) => sum + usageOf(pid).cpuMs, 0) +
        usageOf(process.pid).cpuMs +
        usageOf(stores.pids.redis).cpuMs +
        usageOfTree(stores.pids.postgres).cpuMs,
    });
    return {
      server,
      rssBeforeMb,
      connectsPerSecond: (clients * 1000) / Math.max(...joined.map(({ tookMs }) => tookMs)),
      get faults() {
        return [...faults, ...changes.faults];
      },
      stop,
      async listen(seconds, reconnectsPerSecond = 0) {
        const [before, changedBefore] = [cpuMs(), changes.made];
        const order: MeasureOrder = {
          seconds,
          reconnectsPerSecond: reconnectsPerSecond / generators.length,
        };
        for (const generator of generators) generator.send(order);
        const received = await Promise.all(generators.map((generator) => generator.receive<Received>()));
        const [after, changedAfter] = [cpuMs(), changes.made];
        const lateness = new Milliseconds();
        for (const { lateness: counts } of received) lateness.merge(counts);
        const total = (of: (one: Received) => number): number =>
          received.reduce((sum, one) => sum + of(one), 0);
        const [lost, gaps, turnedAway] = [
          total((r) => r.lost),
          total((r) => r.gaps),
          total((r) => r.refused),
        ];
        if (lost > 0) faults.push(`${lost} connections were lost`);
        if (turnedAway > 0) faults.push(`${turnedAway} clients could not come back`);
        if (gaps > 0) faults.push(`${gaps} frames did not follow on what their client had`);
        const share = (of: keyof typeof after): number => (after[of] - before[of]) / (seconds * 1000);
        return {
          framesPerSecond: total(({ frames }) => frames) / clients / seconds,
          changesPerSecond: (changedAfter - changedBefore) / seconds,
          lateness: lateness.summarize(),
          reconnected: total(({ reconnected }) => reconnected),
          errors: lost + gaps + turnedAway + changes.faults.length,
          cpu: { realtime: share('realtime'), clients: share('clients'), others: share('others') },
        };
      },
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** Has ten players play in turn, so that the top 10, which they are, changes at a steady rate. */
function startChanges(url: string, players: readonly BenchPlayer[]) {
  const line = new HttpLine(url);
  const faults: string[] = [];
  let made = 0;
  let over = false;
  const run = async (): Promise<void> => {
    const begun = performance.now();
    for (let n = 0; !over; n += 1) {
      const token = players[n % players.length]?.token ?? '';
      const body = JSON.stringify({ type: 'COMPLETE_TASK' });
      const started = await line.send('POST', '/api/v1/actions', token, body);
      const { actionId, actionToken } = JSON.parse(started.body) as Record<string, string>;
      const path = `/api/v1/actions/${actionId ?? ''}/complete`;
      const { status } = await line.send('POST', path, token, JSON.stringify({ actionToken }));
      if (status === 200) made += 1;
      else faults.push(`a completion was answered ${status}`);
      await delay(Math.max(0, begun + (n * 1000) / CHANGES_PER_SECOND - performance.now()));
    }
  };
  const running = run().catch((error: unknown) => faults.push(String(error)));
  return {
    faults,
    get made() {
      return made;
    },
    async stop() {
      over = true;
      await running;
      await line.close();
    },
  };
}
