/**
 * Plays: each play starts an action and completes it. Either a set number of plays are under way at all times, or plays
 * begin at a set rate, however long the earlier ones take.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { HttpLine, type LineAnswer } from './http-line.ts';
import { DONE, type PlayGround, type PlayOrder, type PlayOutcome } from './play-messages.ts';

const boards = ['game1', 'game2'];
/** The seeded types' points are 10, 50 and 100; this is the least, so that nobody meets the score cap. */
const type = 'COMPLETE_TASK';
const TICK_MS = 5;

async function play(ground: PlayGround, order: PlayOrder): Promise<PlayOutcome> {
  const startMs: number[] = [];
  const completeMs: number[] = [];
  const acknowledged: string[] = [];
  const errors: Record<string, number> = {};
  const shed = { start: 0, complete: 0 };
  let points = 0;
  let queued = 0;
  let next = order.first;
  const count = (error: string): void => {
    errors[error] = (errors[error] ?? 0) + 1;
  };

  /** Counts an answer that is not the one that was hoped for. */
  function refused(step: 'start' | 'complete', { status, body }: LineAnswer): void {
    if (order.overload && status === 503) shed[step] += 1;
    else count(`${step} ${status} ${codeIn(body)}`);
  }

  async function playOne(line: HttpLine): Promise<void> {
    const player = ground.players[next % ground.players.length];
    const leaderboard = boards[next % boards.length];
    next += 1;
    if (!player) return;
    try {
      const before = performance.now();
      const started = await line.send(
        'POST',
        '/api/v1/actions',
        player.token,
        JSON.stringify({ type, leaderboard }),
      );
      const between = performance.now();
      if (started.status !== 201) return refused('start', started);
      startMs.push(between - before);
      const { actionId, actionToken } = JSON.parse(started.body) as { actionId: string; actionToken: string };
      const sent = performance.now();
      const completed = await line.send(
        'POST',
        `/api/v1/actions/${actionId}/complete`,
        player.token,
        JSON.stringify({ actionToken }),
      );
      const took = performance.now() - sent;
      if (completed.status === 200) {
        points += (JSON.parse(completed.body) as { score: { delta: number } }).score.delta;
      } else if (completed.status === 202) queued += 1;
      else return refused('complete', completed);
      completeMs.push(took);
      acknowledged.push(actionId);
    } catch (error) {
      count(error instanceof Error ? error.message : String(error));
    }
  }

  const lines = Array.from({ length: order.inFlight }, () => new HttpLine(ground.url));
  // They stand before the clock starts, as those of a proxy do: Node accepts one in each turn of its event loop, so that new
  // connections wait for as many turns as there are others before them.
  if (order.rate !== undefined)
    await Promise.all(lines.map((line) => line.send('GET', '/healthz', ground.players[0]?.token ?? '')));
  const begun = performance.now();
  const endsAt = begun + order.seconds * 1000;
  if (order.rate === undefined) {
    await Promise.all(
      lines.map(async (line) => {
        while (performance.now() < endsAt) await playOne(line);
      }),
    );
  } else {
    const idle = [...lines];
    const underWay = new Set<Promise<void>>();
    for (let due = 0; performance.now() < endsAt; await delay(TICK_MS)) {
      const shouldHave = ((performance.now() - begun) / 1000) * order.rate;
      for (; due < shouldHave; due += 1) {
        // The one that has rested longest, so that none is closed for being idle.
        const line = idle.shift();
        if (!line) {
          count('no connection free');
          continue;
        }
        const one: Promise<void> = playOne(line).finally(() => {
          idle.push(line);
          underWay.delete(one);
        });
        underWay.add(one);
      }
    }
    await Promise.all(underWay);
  }
  const tookMs = performance.now() - begun;
  await Promise.all(lines.map((line) => line.close()));
  return { tookMs, startMs, completeMs, acknowledged, points, queued, shed, errors, next };
}

function codeIn(body: string): string {
  return /"code":"(\w+)"/.exec(body)?.[1] ?? body.slice(0, 80);
}

let ground: PlayGround | undefined;
process.on('message', (message: PlayGround | PlayOrder) => {
  if ('players' in message) ground = message;
  else if (ground) {
    void play(ground, message).then((outcome) => {
      process.send?.(DONE);
      process.send?.(outcome);
    });
  }
});
