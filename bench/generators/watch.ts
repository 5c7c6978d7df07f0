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
  readonly changes: readonly { readonly userId: string }[];
  readonly entries: readonly { readonly userId: string; readonly updatedAt: string }[];
}

let measured: Milliseconds | undefined;
let frames = 0;
let lost = 0;

/** All connections get the same frame, byte for byte: it is read once. */
let lastFrame: Buffer = Buffer.alloc(0);
let lastCommits: readonly number[] = [];

function commitsIn(data: Buffer): readonly number[] {
  if (data.equals(lastFrame)) return lastCommits;
  const [, frame] = JSON.parse(data.toString().slice(2)) as [string, Frame];
  const changed = new Set(frame.changes.map(({ userId }) => userId));
  lastCommits = frame.entries
    .filter(({ userId }) => changed.has(userId))
    .map(({ updatedAt }) => Date.parse(updatedAt));
  lastFrame = data;
  return lastCommits;
}

function receive(data: Buffer): void {
  if (!measured) return;
  frames += 1;
  const now = Date.now();
  for (const committedAt of commitsIn(data)) measured.add(now - committedAt);
}

const isFrame = (data: Buffer): boolean => data.subarray(0, 24).includes('leaderboard:update');

/** Resolves to whether the connection watches the board. */
function watch({ url, leaderboard }: WatchOrder, token: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = new WebSocket(`${url}/socket.io/?EIO=4&transport=websocket`, { perMessageDeflate: false });
    let watching = false;
    const timer = setTimeout(() => socket.terminate(), JOIN_TIMEOUT_MS);
    socket.on('message', (raw: RawData) => {
      const data = raw as Buffer;
      if (watching && data[0] !== 0x32) receive(data);
      if (isFrame(data)) return;
      const text = data.toString();
      if (text === '2') socket.send('3');
      else if (text.startsWith('0')) socket.send(`40${JSON.stringify({ token })}`);
      else if (text.startsWith('40'))
        socket.send(`420${JSON.stringify(['join:leaderboard', { leaderboard }])}`);
      else if (text.startsWith('430')) {
        clearTimeout(timer);
        watching = text.includes('"ok":true');
        if (!watching) socket.terminate();
        resolve(watching);
      }
    });
    socket.on('error', () => undefined); // 'close' follows
    socket.on('close', () => {
      clearTimeout(timer);
      if (watching) lost += 1;
      resolve(false);
    });
  });
}

async function join(order: WatchOrder): Promise<Joined> {
  const tokens = [...order.tokens];
  const begun = performance.now();
  let joined = 0;
  let refused = 0;
  await Promise.all(
    Array.from({ length: CONNECTING_AT_ONCE }, async () => {
      for (let token = tokens.pop(); token !== undefined; token = tokens.pop()) {
        if (await watch(order, token)) joined += 1;
        else refused += 1;
      }
    }),
  );
  return { joined, refused, tookMs: performance.now() - begun };
}

async function measure({ seconds }: MeasureOrder): Promise<Received> {
  measured = new Milliseconds();
  frames = 0;
  await delay(seconds * 1000);
  const { counts } = measured;
  measured = undefined;
  return { frames, lateness: counts, lost };
}

process.on('message', (message: WatchOrder | MeasureOrder) => {
  const answer = 'tokens' in message ? join(message) : measure(message);
  void answer.then((found) => process.send?.(found));
});
