import { createDatabase } from '../common/postgres.ts';
import { replay, type Replay, type ReplayDifference } from '../common/replay.ts';
import { Failure } from './failure.ts';
import type { Settings } from './settings.ts';

/** Recomputes every score from the ledger alone. @throws Failure when the score rows differ */
export async function runReplay(
  settings: Settings<'DATABASE_URL'>,
  options: { json?: boolean },
): Promise<void> {
  const db = createDatabase({ DATABASE_URL: settings.DATABASE_URL, DATABASE_POOL_MAX: 2 }, 'replay');
  let found: Replay;
  try {
    found = await replay(db);
  } finally {
    await db.destroy();
  }
  console.log(options.json ? JSON.stringify(found) : summary(found));
  if (found.different > 0) {
    throw new Failure(
      `The ledger and the scores differ ${found.different === 1 ? 'once' : `${found.different} times`}. Stop corrections, and look at the listed users’ entries and rows before anything is changed.`,
    );
  }
}

function summary({ users, entries, rows, unchecked, different, differences }: Replay): string {
  const lines = [
    `${entries} entries of ${users} users added up, ${rows} scores compared, ${different} differ.`,
    ...differences.map(line),
  ];
  if (different > differences.length) lines.push(`… and ${different - differences.length} more`);
  if (unchecked > 0) {
    lines.push(
      `${unchecked} entries are of a version that did not keep what they did to each board: of their users only all-time scores were compared.`,
    );
  }
  if (different === 0) lines.push('The scores are what the ledger says.');
  return lines.join('\n');
}

function line({ userId, board, ledger, scores, entry }: ReplayDifference): string {
  if (entry) return `  ${userId}: entry ${entry.id}: ${entry.fault}`;
  const show = (sum: readonly [number, number] | null): string =>
    sum ? `${sum[0]} since ${new Date(sum[1]).toISOString()}` : 'nothing';
  return `  ${userId} on ${board}: the ledger says ${show(ledger)}, the scores ${show(scores)}`;
}
