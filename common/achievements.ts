/**
 * Places that it means something to enter, the best one first. On the global leaderboard, all time, each is an achievement.
 * Achievements of the score stand in SQL, where they unlock.
 */
export const rankThresholds = [1, 3, 10, 100] as const;

/** What an achievement is called, by its key; a key of an older version is its own title. */
export function achievementTitle(key: string): string {
  const [kind, figure] = key.split('-');
  if (kind === 'score') return `${Number(figure).toLocaleString('en')} points`;
  if (kind === 'rank') return figure === '1' ? 'First place' : `Top ${figure ?? ''}`;
  return key;
}

/** Keys of the rank achievements that a user has at a rank (1-based): second place is in the top 100, 10 and 3. */
export const rankAchievements = (rank: number | undefined): string[] =>
  rank === undefined
    ? []
    : rankThresholds
        .filter((place) => rank <= place)
        .map((place) => `rank-${place}`)
        .reverse();
