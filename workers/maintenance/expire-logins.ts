import type { Database } from '../../common/postgres.ts';

/** Dead tokens and logins are kept for a while, seconds, so that their reuse is told from a stranger's. */
const KEPT_S = 86_400;
/** How long the subject of an erased user is remembered at least, seconds: tokens may be that much older than they say. */
const SUBJECT_MARGIN_S = 3600;

/**
 * Deletes refresh tokens that nobody can use, the logins that have none left or have ended, password resets past their
 * hour, and subjects of erased users whose last token has expired.
 *
 * @param outsideTokenSeconds how long tokens of outside services are good
 * @returns how many refresh tokens
 */
export async function expireLogins(db: Database, outsideTokenSeconds: number): Promise<number> {
  const { rows } = await db.raw<{ rows: { count: string }[] }>(
    `with dead as (
       delete from refresh_tokens where expires_at < now() - make_interval(secs => :kept) returning session_id
     ), ended as (
       delete from sessions s using (select distinct session_id from dead) d
       where s.id = d.session_id and not exists (
         select 1 from refresh_tokens t
         where t.session_id = s.id and t.expires_at >= now() - make_interval(secs => :kept)
       )
     )
     select count(*) from dead`,
    { kept: KEPT_S },
  );
  await db.raw(
    'delete from sessions where revoked_at is not null and revoked_at < now() - make_interval(secs => ?)',
    [KEPT_S],
  );
  await db.raw('delete from password_resets where expires_at < now()');
  await db.raw('delete from erased_subjects where erased_at < now() - make_interval(secs => ?)', [
    outsideTokenSeconds + SUBJECT_MARGIN_S,
  ]);
  return Number(rows[0]?.count ?? 0);
}
