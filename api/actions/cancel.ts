import { presentAction } from '../../common/action-views.ts';
import { Problem } from '../http/problem.ts';
import { route, signedIn, type Route } from '../http/route.ts';
import { alreadyCompleted } from './completions.ts';
import { actionIdParams, actionNotFound, actionSchema, callerProblems, type ActionDeps } from './parts.ts';

/** `POST /actions/:actionId/cancel` */
export function cancelRoute({ actions, admission, announcer }: ActionDeps): Route {
  return route<{ actionId: string }>({
    method: 'post',
    path: '/actions/:actionId/cancel',
    operationId: 'cancelAction',
    tag: 'Actions',
    summary: 'Cancel an action',
    access: 'player',
    params: actionIdParams,
    responses: { 200: { description: 'Cancelled, now or before', schema: actionSchema } },
    problems: [
      ...callerProblems,
      'ACTION_NOT_FOUND',
      'ACTION_ALREADY_COMPLETED',
      'ACTION_IN_PROGRESS',
      'ACTION_REJECTED',
      'RATE_LIMITED',
      'UNAVAILABLE',
    ],
    async handle(input) {
      const { userId } = signedIn(input).profile;
      const { actionId } = input.params;
      await admission.admit({ kind: 'cancel', ip: input.ip, userId });
      const outcome = await actions.cancel(userId, actionId);
      if (!outcome) throw actionNotFound();
      const { action, cancelled } = outcome;
      if (action.status === 'completed' && action.result) throw alreadyCompleted(action.result);
      if (action.status === 'queued' || action.status === 'held') {
        throw new Problem(
          'ACTION_IN_PROGRESS',
          'The action is being completed and cannot be cancelled any more.',
        );
      }
      if (action.status === 'rejected') throw new Problem('ACTION_REJECTED', 'The action was rejected.');
      if (cancelled) {
        await admission.closeAction(userId, actionId).catch(() => undefined);
        announcer.announce({
          kind: 'action',
          userId,
          actionId,
          type: action.type,
          leaderboard: action.leaderboard,
          status: 'cancelled',
          at: Date.now(),
        });
      }
      return { status: 200, body: presentAction(action), headers: { 'Cache-Control': 'no-store' } };
    },
  });
}
