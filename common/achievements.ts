/** Milestones that a user reaches once, on the global leaderboard, all time. */
export const scoreMilestones = [100, 500, 1000, 5000, 10_000] as const;
export const rankMilestones = [100, 10, 3, 1] as const;

/** What an achievement is called, by its key; a key of an older version is its own title. */
export function achievementTitle(key: string): string {
  const [kind, figure] = key.split('-');
  if (kind === 'score') return `${Number(figure).toLocaleString('en')} points`;
  if (kind === 'rank') return figure === '1' ? 'First place' : `Top ${figure ?? ''}`;
  return key;
}
