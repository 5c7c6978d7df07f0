import { createHmac, randomUUID } from 'node:crypto';
import { call, type Answer, type Player } from '../../support/player.ts';
import { accessToken } from '../forge.ts';
import type { Attack, World } from './world.ts';

interface Signed {
  actionId?: string;
  type?: string;
  timestamp?: string;
  key?: string;
  /** what is sent, where it is not what was signed */
  sent?: Record<string, unknown>;
}
/** Sends a client-signed completion. */
export function signed(w: World, by: Player, terms: Signed = {}): Promise<Answer> {
  const { actionId = randomUUID(), type = 'COMPLETE_TASK', timestamp = new Date().toISOString() } = terms;
  const signature = createHmac('sha256', terms.key ?? by.signingKey)
    .update([actionId, type, 'global', timestamp].join('.'))
    .digest('hex');
  return call(w.api, 'POST', '/completions', {
    token: by.token,
    body: { actionId, type, timestamp, signature, ...terms.sent },
  });
}
const inSeconds = (seconds: number): string => new Date(Date.now() + seconds * 1000).toISOString();

export const signedAttacks: Attack[] = [
  [
    'a key of one’s own making',
    403,
    'SIGNATURE_INVALID',
    (w) => signed(w, w.attacker, { key: 'f'.repeat(64) }),
  ],
  [
    'another player’s key',
    403,
    'SIGNATURE_INVALID',
    (w) => signed(w, w.attacker, { key: w.victim.signingKey }),
  ],
  [
    'the key of another login of one’s own',
    403,
    'SIGNATURE_INVALID',
    (w) => signed(w, w.attacker, { key: w.ended.signingKey }),
  ],
  ['a key whose login has ended', 403, 'SIGNATURE_INVALID', (w) => signed(w, w.ended)],
  [
    'an outside token, which has no key',
    403,
    'SIGNATURE_INVALID',
    (w) =>
      signed(w, {
        ...w.attacker,
        token: accessToken({ sub: w.attacker.userId }),
        signingKey: w.attacker.signingKey,
      } as Player),
  ],
  [
    'another type than was signed',
    403,
    'SIGNATURE_INVALID',
    (w) => signed(w, w.attacker, { sent: { type: 'COMPLETE_MISSION' } }),
  ],
  [
    'another board than was signed',
    403,
    'SIGNATURE_INVALID',
    (w) => signed(w, w.attacker, { sent: { leaderboard: 'game1' } }),
  ],
  [
    'another id than was signed',
    403,
    'SIGNATURE_INVALID',
    (w) => signed(w, w.attacker, { sent: { actionId: randomUUID() } }),
  ],
  [
    'another time than was signed',
    403,
    'SIGNATURE_INVALID',
    (w) => signed(w, w.attacker, { timestamp: inSeconds(-600), sent: { timestamp: inSeconds(0) } }),
  ],
  [
    'five minutes and a second ago',
    403,
    'TIMESTAMP_OUT_OF_RANGE',
    (w) => signed(w, w.attacker, { timestamp: inSeconds(-301) }),
  ],
  [
    'five minutes and a second ahead',
    403,
    'TIMESTAMP_OUT_OF_RANGE',
    (w) => signed(w, w.attacker, { timestamp: inSeconds(302) }),
  ],
  [
    'an id that the victim used',
    409,
    'ACTION_ID_TAKEN',
    (w) => signed(w, w.attacker, { actionId: w.foreignClientId }),
  ],
  [
    'the same id in capitals',
    409,
    'ACTION_ID_TAKEN',
    (w) => signed(w, w.attacker, { actionId: w.foreignClientId.toUpperCase() }),
  ],
  [
    'the id of an action that the victim started',
    409,
    'ACTION_ID_TAKEN',
    (w) => signed(w, w.attacker, { actionId: w.foreign.actionId }),
  ],
  [
    'the id of an action that the caller started',
    409,
    'ACTION_ID_TAKEN',
    (w) => signed(w, w.attacker, { actionId: w.own.actionId }),
  ],
  [
    'half a signature',
    400,
    'INVALID_REQUEST',
    (w) => signed(w, w.attacker, { sent: { signature: 'ab'.repeat(16) } }),
  ],
  [
    'a signature that is no hex',
    400,
    'INVALID_REQUEST',
    (w) => signed(w, w.attacker, { sent: { signature: 'z'.repeat(64) } }),
  ],
  [
    'a time that is a number',
    400,
    'INVALID_REQUEST',
    (w) => signed(w, w.attacker, { sent: { timestamp: Date.now() } }),
  ],
  [
    'no time at all',
    400,
    'INVALID_REQUEST',
    (w) => signed(w, w.attacker, { sent: { timestamp: undefined } }),
  ],
];
