/**
 * `npm run screenshot`: takes the picture of the scoreboard that the documentation shows, of a Laurel of its own in which
 * demo players have just played.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdir, mkdtemp, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { openPage } from './browser.ts';
import { demoPassword, demoPlayers } from './demo-players.ts';

const FILE = resolve('docs/images/scoreboard.png');
/** Missions, quests and tasks of each demo player, in the order of their list. */
const PLAYED = [
  [9, 4, 3],
  [8, 5, 7],
  [10, 1, 1],
  [6, 3, 2],
  [5, 5, 0],
  [4, 6, 8],
  [5, 2, 1],
  [3, 5, 4],
  [3, 1, 6],
  [2, 3, 3],
  [1, 4, 2],
  [1, 1, 1],
] as const;
const TYPES = ['COMPLETE_MISSION', 'COMPLETE_QUEST', 'COMPLETE_TASK'] as const;
/** The demo player who looks at the page. */
const VIEWER = 'katherine';

async function post<T>(url: string, path: string, body: unknown, token?: string): Promise<T> {
  const response = await fetch(`${url}/api/v1${path}`, {
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      ...(token !== undefined && { authorization: `Bearer ${token}` }),
    },
    body: JSON.stringify(body),
  });
  if (!response.ok) throw new Error(`POST ${path} was answered ${response.status}: ${await response.text()}`);
  return (await response.json()) as T;
}

async function play(url: string, token: string, type: string): Promise<void> {
  const { actionId, actionToken } = await post<{ actionId: string; actionToken: string }>(
    url,
    '/actions',
    { type },
    token,
  );
  await post(url, `/actions/${actionId}/complete`, { actionToken }, token);
}

/** Lets every demo player play. @returns their access tokens by name */
async function playAll(url: string): Promise<Map<string, string>> {
  const tokens = await Promise.all(
    demoPlayers.map(async (username) => {
      const { accessToken } = await post<{ accessToken: string }>(url, '/auth/login', {
        username,
        password: demoPassword,
      });
      return [username, accessToken] as const;
    }),
  );
  await Promise.all(
    tokens.flatMap(([, token], player) =>
      TYPES.flatMap((type, i) =>
        Array.from({ length: PLAYED[player]?.[i] ?? 0 }, () => play(url, token, type)),
      ),
    ),
  );
  return new Map(tokens);
}

async function takePicture(url: string): Promise<void> {
  const tokens = await playAll(url);
  const { page, complaints, close } = await openPage({ viewport: { width: 1280, height: 990 } });
  try {
    await page.goto(url);
    await page.getByTestId('open-sign-in').click();
    await page.getByTestId('username').fill(VIEWER);
    await page.getByTestId('password').fill(demoPassword);
    await page.getByTestId('submit-sign-in').click();
    await page.getByTestId('account-name').waitFor();
    await page.getByTestId('action-COMPLETE_MISSION').click();
    await page.getByTestId('result').waitFor();
    // Just before the picture others move too, so that it shows a board that lives.
    const others = { grace: 'COMPLETE_MISSION', barbara: 'COMPLETE_MISSION', alan: 'COMPLETE_QUEST' };
    await Promise.all(Object.entries(others).map(([name, type]) => play(url, tokens.get(name) ?? '', type)));
    await page.locator('.entry__move.is-up').nth(1).waitFor();
    await page.waitForTimeout(900); // until figures have counted up and lines have glided into place
    await mkdir(dirname(FILE), { recursive: true });
    await page.screenshot({ path: FILE });
  } finally {
    await close();
  }
  if (complaints.length > 0) throw new Error(`The page complained:\n${complaints.join('\n')}`);
}

const dataDir = await mkdtemp(join(tmpdir(), 'laurel-screenshot-'));
await chmod(dataDir, 0o711); // as root, PostgreSQL runs as another user, who must get through
const limits = ['COMPLETE', 'START', 'READ', 'IP'].map((name) => [`RATE_LIMIT_${name}_PER_MINUTE`, '0']);
const laurel = spawn(process.execPath, ['--import', 'tsx', 'dev/start.ts'], {
  env: {
    ...process.env,
    DATA_DIR: join(dataDir, 'data'),
    PORT: '0',
    MAX_OPEN_ACTIONS: '100',
    ...(Object.fromEntries(limits) as Record<string, string>),
  },
  stdio: ['ignore', 'pipe', 'inherit'],
});
const ended = once(laurel, 'close');
process.exitCode = 1;
try {
  for await (const line of createInterface({ input: laurel.stdout })) {
    const url = /Scoreboard +(\S+)/.exec(line)?.[1];
    if (url === undefined) continue;
    await takePicture(url);
    console.log(`${FILE}: ${Math.round((await stat(FILE)).size / 1000)} KB`);
    process.exitCode = 0;
    break;
  }
} finally {
  laurel.kill('SIGTERM');
  await ended;
  await rm(dataDir, { recursive: true, force: true });
}
