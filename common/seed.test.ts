import { expect } from 'chai';
import { after, before } from 'mocha';
import { useStores } from '../test/support/stores.ts';
import { passwordMatches } from './identity/passwords.ts';
import { createDatabase, type Database } from './postgres.ts';
import { ensureDemoPlayer, ensureUser, NameBelongsToAnother } from './seed.ts';

describe('seeding accounts', function () {
  this.timeout(60_000);
  const stores = useStores();
  let db: Database;
  before(() => {
    db = createDatabase({ DATABASE_URL: stores.databaseUrl, DATABASE_POOL_MAX: 5 }, 'test');
  });
  after(() => db.destroy());

  const account = (id: string) =>
    db('users')
      .where({ id })
      .first<{ role: string; password_hash: string; banned_at: Date | null; token_epoch: number }>();
  const signIn = async (userId: string): Promise<void> => {
    await db('sessions').insert({ id: `session of ${userId}`, user_id: userId });
  };
  const isSignedIn = async (userId: string): Promise<boolean> =>
    (await db('sessions').where({ user_id: userId }).whereNull('revoked_at').first('id')) !== undefined;

  it('never takes the account of a player over, whatever the spelling', async () => {
    const player = await ensureUser(db, 'opsteam', 'a password of mine', 'player');
    await signIn(player);
    const before = await account(player);
    const refusal = await ensureUser(db, 'OpsTeam', 'the operator’s own', 'admin').catch(
      (error: unknown) => error,
    );
    expect(refusal).to.be.instanceOf(NameBelongsToAnother);
    expect((refusal as Error).message)
      .to.include('OpsTeam')
      .and.include(player)
      .and.include('another name');
    expect(await account(player)).to.deep.equal(before);
    expect(await isSignedIn(player)).to.equal(true);
  });

  it('gives an administrator the new password, which ends every login, and nothing when it is the same', async () => {
    const admin = await ensureUser(db, 'chief', 'the first password', 'admin');
    await signIn(admin);
    const before = await account(admin);
    expect(await ensureUser(db, 'chief', 'the first password', 'admin')).to.equal(admin);
    expect(await account(admin)).to.deep.equal(before);
    expect(await isSignedIn(admin)).to.equal(true);
    expect(await ensureUser(db, 'chief', 'the second password', 'admin')).to.equal(admin);
    const changed = await account(admin);
    expect(await passwordMatches('the second password', changed?.password_hash)).to.equal(true);
    expect(changed?.token_epoch).to.be.above(before?.token_epoch ?? Infinity);
    expect(await isSignedIn(admin)).to.equal(false);
  });

  it('lifts the ban of an administrator, and of nobody else', async () => {
    const admin = await ensureUser(db, 'locked out', 'the password of one', 'admin');
    const player = await ensureUser(db, 'cheater', 'the password of one', 'player');
    await db('users').whereIn('id', [admin, player]).update({ banned_at: db.fn.now(), ban_reason: 'x' });
    await ensureUser(db, 'locked out', 'the password of one', 'admin');
    await ensureUser(db, 'cheater', 'the password of one', 'player');
    expect((await account(admin))?.banned_at).to.equal(null);
    expect((await account(player))?.banned_at).not.to.equal(null);
  });

  it('leaves a player who bears the name of a demo player alone', async () => {
    const ada = await ensureUser(db, 'ada', 'her own password', 'player');
    const before = await account(ada);
    await ensureDemoPlayer(db, 'ada', 'laurel-demo');
    expect(await account(ada)).to.deep.equal(before);
    await ensureDemoPlayer(db, 'grace', 'laurel-demo');
    const grace = await db('users').where({ username: 'grace' }).first<{ password_hash: string }>();
    expect(await passwordMatches('laurel-demo', grace?.password_hash)).to.equal(true);
  });

  it('makes one account when several processes begin at once', async () => {
    const ids = await Promise.all(
      Array.from({ length: 4 }, () => ensureUser(db, 'first', 'a password', 'admin')),
    );
    expect(new Set(ids).size).to.equal(1);
  });
});
