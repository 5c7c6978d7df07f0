import type { Route } from '../http/route.ts';
import { cancelRoute } from './cancel.ts';
import { completeSignedRoute } from './complete-signed.ts';
import { completeRoute } from './complete.ts';
import type { ActionDeps } from './parts.ts';
import { listRoute, readRoute } from './read.ts';
import { startRoute } from './start.ts';
import { actionTypesRoute } from './types.ts';

/** Everything a player does with actions, one file a route. */
export function actionRoutes(deps: ActionDeps): Route[] {
  return [
    actionTypesRoute,
    startRoute,
    listRoute,
    readRoute,
    completeRoute,
    cancelRoute,
    completeSignedRoute,
  ].map((make) => make(deps));
}
