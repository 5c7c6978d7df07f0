import { hash } from '@node-rs/argon2';
import { expect } from 'chai';
import { HashingBusy, hashPassword, passwordMatches } from './passwords.ts';

describe('passwords', () => {
  it('match in whichever form a keyboard writes them', async () => {
    const kept = await hashPassword('Zoë’s ﬁrst pässword');
    for (const typed of ['Zoë’s ﬁrst pässword', 'Zoe\u0308’s first pa\u0308ssword'])
      expect(await passwordMatches(typed, kept), typed).to.equal(true);
    expect(await passwordMatches('Zoe’s first password', kept)).to.equal(false);
  });

  it('match hashes that were made of the text as it was typed', async () => {
    const kept = await hash('ﬁrst pässword');
    expect(await passwordMatches('ﬁrst pässword', kept)).to.equal(true);
    expect(await passwordMatches('ﬁrst pa\u0308ssword', kept)).to.equal(true);
  });

  it('match no account without one', async () => {
    expect(await passwordMatches('no password is this one', null)).to.equal(false);
    expect(await passwordMatches('no password is this one', undefined)).to.equal(false);
  });

  it('are hashed a few at once: past a short line, more are refused', async () => {
    const outcomes = await Promise.allSettled(
      Array.from({ length: 100 }, () => hashPassword('correct horse battery')),
    );
    const refused = outcomes.filter((outcome) => outcome.status === 'rejected');
    expect(refused).to.have.length(100 - 67);
    for (const { reason } of refused) expect(reason).to.be.instanceOf(HashingBusy);
    expect(await passwordMatches('x', await hashPassword('x'))).to.equal(true);
  });
});
