import { call, type Answer, type Player } from '../../support/player.ts';
import type { IdentityService } from '../forge.ts';

/** What attackers have: accounts of their own, what they overheard, and patience. */
export interface World {
  api: string;
  other: string;
  live: string;
  identity: IdentityService;
  attacker: Player;
  victim: Player;
  /** an open action of the attacker, and one of the victim */
  own: { actionId: string; actionToken: string };
  foreign: { actionId: string; actionToken: string };
  /** completed by the attacker, before the attacks */
  spent: { actionId: string; actionToken: string };
  cancelled: { actionId: string; actionToken: string };
  /** the id of a client-signed completion of the victim */
  foreignClientId: string;
  /** a login of the attacker that has ended */
  ended: Player;
}
export type Attack = [name: string, status: number, code: string, send: (world: World) => Promise<Answer>];

/** Registers an account with the given fields. */
export const register = (w: World, fields: Record<string, unknown>): Promise<Answer> =>
  call(w.api, 'POST', '/auth/register', {
    body: {
      username: 'harmless',
      email: 'harmless@example.org',
      password: 'correct horse battery',
      ...fields,
    },
  });
