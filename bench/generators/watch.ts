/**
 * Watches a board over many Socket.IO connections. It speaks the protocol (Engine.IO 4 over WebSocket) itself: thousands
 * of full clients would cost more than the server that is measured.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { WebSocket, type RawData } from 'ws';
import { Milliseconds } from '../measure/latencies.ts';
import type { Joined, MeasureOrder, Received, WatchOrder } from './watch-messages.ts';

const CONNECTING_AT_ONCE = 50;
const JOIN_TIMEOUT_MS = 30_000;

interface Frame {
  readonly version: number;
  readonly previousVersion: number;
  readonly changes: readonly { readonly userId: string }[];
  readonly entries: readonly { readonly userId: string; readonly updatedAt: string }[];
}

interface Watcher {
  readonly token: string;
  readonly socket: WebSocket;
  /** of the board as it is known here; -1 before the snapshot */
  version: number;
}

const watchers: Watcher[] = [];
let order: WatchOrder | undefined;
let measured: Milliseconds | undefined;
let frames = 0;
let gaps = 0;
let lost = 0;

/** All connections get the same frame, byte for byte: it is read once. */
let lastData: Buffer = Buffer.alloc(0);
let lastFrame = { version: 0, previousVersion: 0, commits: [] as readonly number[] };

function read(data: Buffer): typeof lastFrame {
  if (data.equals(lastData)) return lastFrame;
  const [, frame] = JSON.parse(data.toString().slice(2)) as [string, Frame];
  const changed = new Set(frame.changes.map(({ userId }) => userId));
  const commits = frame.entries
    .filter(({ userId }) => changed.has(userId))
    .map(({ updatedAt }) => Date.parse(updatedAt));
  lastData = data;
  lastFrame = { version: frame.version, previousVersion: frame.previousVersion, commits };
  return lastFrame;
}

function receive(watcher: Watcher, data: Buffer): void {
  const { version, previousVersion, commits } = read(data);
  if (previousVersion !== watcher.version) gaps += 1;
  watcher.version = version;
  if (!measured) return;
  frames += 1;
  const now = Date.now();
  for (const committedAt of commits) measured.add(now - committedAt);
}

const isFrame = (data: Buffer): boolean => data.subarray(0, 24).includes('leaderboard:update');

/** Resolves to whether the connection watches the board. */
function watch({ url, leaderboard }: WatchOrder, token: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = new WebSocket(`${url}/socket.io/?EIO=4&transport=websocket`, { perMessageDeflate: false });
    const watcher: Watcher = { token, socket, version: -1 };
    const timer = setTimeout(() => socket.terminate(), JOIN_TIMEOUT_MS);
    socket.on('message', (raw: RawData) => {
      const data = raw as Buffer;
      if (isFrame(data)) return receive(watcher, data);
      const text = data.toString();
      if (text === '2') socket.send('3');
      else if (text.startsWith('0')) socket.send(`40${JSON.stringify({ token })}`);
      else if (text.startsWith('40'))
        socket.send(`420${JSON.stringify(['join:leaderboard', { leaderboard }])}`);
      else if (text.startsWith('430')) {
        clearTimeout(timer);
        const [answer] = JSON.parse(text.slice(3)) as [{ ok: boolean; snapshot?: { version: number } }];
        if (answer.snapshot) {
          watcher.version = answer.snapshot.version;
          watchers.push(watcher);
        } else socket.terminate();
        resolve(answer.ok);
      }
    });
    socket.on('error', () => undefined); // 'close' follows
    socket.on('close', () => {
      clearTimeout(timer);
      const place = watchers.indexOf(watcher);
      if (place >= 0) {
        watchers.splice(place, 1);
        lost += 1;
      }
      resolve(false);
    });
  });
}

async function join(wanted: WatchOrder): Promise<Joined> {
  order = wanted;
  const tokens = [...wanted.tokens];
  const begun = performance.now();
  let joined = 0;
  let refused = 0;
  await Promise.all(
    Array.from({ length: CONNECTING_AT_ONCE }, async () => {
      for (let token = tokens.pop(); token !== undefined; token = tokens.pop()) {
        if (await watch(wanted, token)) joined += 1;
        else refused += 1;
      }
    }),
  );
  return { joined, refused, tookMs: performance.now() - begun };
}

/** Closes one connection after the other and opens it anew, until the end. @returns how that went */
async function reconnect(perSecond: number, end: number): Promise<{ reconnected: number; refused: number }> {
  const outcome = { reconnected: 0, refused: 0 };
  const opening: Promise<void>[] = [];
  const begun = performance.now();
  for (let n = 1; order && perSecond > 0; n += 1) {
    const next = begun + (n * 1000) / perSecond;
    if (next > end) break;
    await delay(Math.max(0, next - performance.now()));
    const [watcher] = watchers.splice(Math.floor(Math.random() * watchers.length), 1);
    if (!watcher) break;
    watcher.socket.close();
    opening.push(
      watch(order, watcher.token).then((watches) => {
        if (watches) outcome.reconnected += 1;
        else outcome.refused += 1;
      }),
    );
  }
  await Promise.all(opening);
  return outcome;
}

async function measure({ seconds, reconnectsPerSecond }: MeasureOrder): Promise<Received> {
  measured = new Milliseconds();
  frames = 0;
  const end = performance.now() + seconds * 1000;
  const [outcome] = await Promise.all([reconnect(reconnectsPerSecond, end), delay(seconds * 1000)]);
  const { counts } = measured;
  measured = undefined;
  return { frames, lateness: counts, lost, gaps, ...outcome };
}

process.on('message', (message: WatchOrder | MeasureOrder) => {
  const answer = 'tokens' in message ? join(message) : measure(message);
  void answer.then((found) => process.send?.(found));
});
