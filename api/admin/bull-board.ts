import { createBullBoard } from '@bull-board/api';
import { BullMQAdapter } from '@bull-board/api/bullMQAdapter';
import { KoaAdapter } from '@bull-board/koa';
import type Koa from 'koa';
import type { Queues } from '../../common/queues.ts';

export const BULL_BOARD_PATH = '/admin/queues';

/** Bull Board over every queue. It knows no sign-in of its own: mount it behind the operators' session only. */
export function bullBoard(queues: Queues): Koa.Middleware {
  const server = new KoaAdapter();
  server.setBasePath(BULL_BOARD_PATH);
  createBullBoard({
    queues: queues.all.map((queue) => new BullMQAdapter(queue)),
    serverAdapter: server,
    options: { uiConfig: { boardTitle: 'Laurel', hideRedisDetails: true } },
  });
  return server.registerPlugin();
}
