import type { Database } from '../../common/postgres.ts';

/** Everything that is kept of a user, as the user may have it. */
export async function exportPersonalData(db: Database, userId: string): Promise<Record<string, unknown>> {
  const [user, sessions, scores, ledger, actions, achievements, friends] = await Promise.all([
    db('users')
      .where({ id: userId })
      .first(
        'id',
        'username',
        'email',
        'role',
        'avatar_url',
        'allow_spectators',
        'banned_at',
        'ban_reason',
        'created_at',
        'updated_at',
      ),
    db('sessions').where({ user_id: userId }).orderBy('created_at').select('id', 'created_at', 'revoked_at'),
    db('scores as s')
      .join('board_periods as b', 'b.id', 's.board_period_id')
      .where('s.user_id', userId)
      .select('b.leaderboard', 'b.period', 'b.starts_at', 's.score', 's.reached_at'),
    db('ledger')
      .where({ user_id: userId })
      .orderBy('accepted_at')
      .select(
        'id',
        'kind',
        'action_id',
        'leaderboard',
        'type',
        'points',
        'delta',
        'before',
        'after',
        'accepted_at',
        'applied_at',
        'reason',
      ),
    db('actions')
      .where({ user_id: userId })
      .orderBy('id')
      .select(
        'id',
        'type',
        'leaderboard',
        'points',
        'difficulty',
        'status',
        'source',
        'metadata',
        'started_at',
        'expires_at',
        'completed_at',
        'ip',
        'user_agent',
      ),
    db('achievements').where({ user_id: userId }).orderBy('unlocked_at').select('key', 'unlocked_at'),
    db('friends').where({ user_id: userId }).orderBy('since').select('friend_id', 'since'),
  ] as Promise<unknown>[]);
  return {
    exportedAt: new Date().toISOString(),
    user,
    sessions,
    scores,
    ledger,
    actions,
    achievements,
    friends,
  };
}
