/**
 * `npm run demo`: bots play on a running Laurel, through the real API and at a human pace, until Ctrl-C.
 */
import { setMaxListeners } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { Command, InvalidArgumentError } from 'commander';
import { LaurelClient, LaurelError, type CompletionResult } from '../../client/index.ts';
import { endWhenOutputCloses } from '../../common/closed-output.ts';
import { loadConfig } from '../../common/config.ts';
import { demoPassword, demoPlayers } from '../demo-players.ts';

/** The first one is left to the person who looks at the page. */
const bots = demoPlayers.slice(1);

const actionTypes = ['COMPLETE_TASK', 'COMPLETE_TASK', 'COMPLETE_QUEST', 'COMPLETE_MISSION'];
const leaderboards = ['global', 'game1', 'game2'];
const difficulties = ['easy', 'normal', 'normal', 'hard'];

/** 10 completions a minute are allowed: one in 6 s. The longer waits keep all bots within an address's 300 writes. */
const SHORTEST_THOUGHT_MS = 6_200;
const LONGEST_THOUGHT_MS = 14_000;
const RETRY_MS = 2_000;
const LONGEST_RETRY_MS = 15_000;
/** A person who presses Ctrl-C again after this insists; sooner, it is npm that passes on the first. */
const INSIST_AFTER_MS = 1_000;

function pick<T>(choices: readonly T[]): T {
  const chosen = choices[Math.floor(Math.random() * choices.length)];
  if (chosen === undefined) throw new Error('there is nothing to choose from');
  return chosen;
}
const between = (low: number, high: number): number => low + Math.random() * (high - low);

const stop = new AbortController();
setMaxListeners(0, stop.signal); // every bot listens, and Node would suspect a leak
let completions = 0;
/** Why the bots wait at present: said once by all of them together, and not by each. */
let trouble: string | undefined;

function say(name: string, text: string): void {
  const time = new Date().toTimeString().slice(0, 8);
  console.log(`${time}  ${name.padEnd(10)} ${text}`);
}

function sayTrouble(reason: string): void {
  if (trouble === reason) return;
  trouble = reason;
  say('-', `${reason}; trying again`);
}

function describe(type: string, { leaderboard, score, rank }: CompletionResult): string {
  const move =
    rank.previous === null
      ? 'new on the board'
      : rank.current !== null && rank.current < rank.previous
        ? `up from ${rank.previous}`
        : '';
  return [
    type.padEnd(17),
    leaderboard.padEnd(7),
    `+${score.delta}`.padStart(5),
    `${score.current.toLocaleString('en')} points`.padStart(16),
    `  rank ${rank.current ?? '-'}`.padEnd(11),
    move,
  ]
    .join(' ')
    .trimEnd();
}

/** A thing that will not get better by waiting. */
class Hopeless extends Error {}

/** How long to wait before another try, milliseconds. @throws when another try cannot help */
function waitAfter(error: unknown, failures: number, url: string): number {
  if (!(error instanceof LaurelError)) throw error;
  if (error.code === 'BAD_CREDENTIALS') {
    throw new Hopeless(`${url} does not have the demo players. \`npm start\` makes them; this is not one.`);
  }
  const backoff = Math.min(RETRY_MS * 2 ** failures, LONGEST_RETRY_MS);
  if (error.status === 429) {
    sayTrouble('the service asks for a slower pace (429)');
    return (error.retryAfterMs ?? backoff) + between(0, 1_000);
  }
  sayTrouble(
    error.status === 0 ? `no answer from ${url}` : `the service answers ${error.status} ${error.code}`,
  );
  return Math.max(error.retryAfterMs ?? 0, backoff) + between(0, 1_000);
}

/** One bot: signs in, thinks, plays, for ever. */
async function play(username: string, url: string): Promise<void> {
  const { signal } = stop;
  const laurel = new LaurelClient({ baseUrl: url });
  try {
    await sleep(between(0, 4_000), undefined, { signal }); // people do not arrive all at once
    for (let failures = 0; !signal.aborted;) {
      try {
        // A session also ends when the service was set up anew.
        if (!laurel.user) await laurel.login({ username, password: demoPassword });
        const type = pick(actionTypes);
        const result = await laurel.play(type, {
          leaderboard: pick(leaderboards),
          metadata: { difficulty: pick(difficulties) },
          signal,
        });
        failures = 0;
        trouble = undefined;
        completions += 1;
        say(username, describe(type, result));
        await sleep(between(SHORTEST_THOUGHT_MS, LONGEST_THOUGHT_MS), undefined, { signal });
      } catch (error) {
        if (signal.aborted) return;
        if (error instanceof LaurelError && error.status === 401 && laurel.user) await laurel.logout();
        await sleep(waitAfter(error, failures, url), undefined, { signal });
        failures += 1;
      }
    }
  } catch (error) {
    if (!signal.aborted) throw error;
  } finally {
    laurel.close();
  }
}

function parseUrl(value: string): string {
  try {
    return new URL(value).href.replace(/\/$/, '');
  } catch {
    throw new InvalidArgumentError('It must be an address such as http://localhost:3000.');
  }
}

async function main(): Promise<void> {
  const options = new Command('demo')
    .description('Bots play on a running Laurel until Ctrl-C.')
    .option('--url <url>', 'where Laurel is; default http://localhost:$PORT', parseUrl)
    .parse()
    .opts<{ url?: string }>();
  const url = options.url ?? `http://localhost:${loadConfig(process.env).PORT}`;

  let first = 0;
  for (const name of ['SIGINT', 'SIGTERM'] as const) {
    process.on(name, () => {
      if (first > 0 && Date.now() - first > INSIST_AFTER_MS) process.exit(130);
      first ||= Date.now();
      stop.abort();
    });
  }

  console.log(`${bots.length} bots play on ${url}. Ctrl-C ends it.`);
  try {
    await Promise.all(bots.map((player) => play(player, url)));
  } finally {
    stop.abort();
  }
  console.log(`${completions} completions were counted.`);
}

endWhenOutputCloses();
main().catch((error: unknown) => {
  console.error(error instanceof Error ? error.message : String(error));
  process.exitCode = 1;
});
