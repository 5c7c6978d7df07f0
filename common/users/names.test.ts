import { expect } from 'chai';
import { avatarUrlSchema, normalizeUsername, usernameKey, usernameSchema } from './names.ts';

const accepted = (name: string): boolean => usernameSchema.validate(name).error === undefined;

describe('user names', () => {
  for (const name of [
    'Ada',
    'ада',
    '李小龍',
    'नमस्ते',
    'Zoë_9-b.c',
    'Jean Luc',
    'x'.repeat(50),
    '١٢٣',
    'e\u0301mile',
  ])
    it(`may be ${name}`, () => expect(accepted(name)).to.equal(true));

  const refused: [what: string, name: string][] = [
    ['too short', 'ab'],
    ['too long', 'x'.repeat(51)],
    ['long once normalized', '\uFDFA'.repeat(4)],
    ['blank', '   '],
    ['with a space at an end', ' Ada'],
    ['with two spaces', 'Ada  L'],
    ['with a line end', 'Ada\nL'],
    ['with NUL', 'Ada\u0000'],
    ['turned round', '\u202Emada'],
    ['isolated', '\u2066Ada'],
    ['with a zero-width space', 'A\u200Bda'],
    ['with a zero-width joiner', 'A\u200Dda'],
    ['with a soft hyphen', 'A\u00ADda'],
    ['of letters that nobody sees', '\u3164\u3164\u3164'],
    ['with a variation selector', 'Ada\uFE0F'],
    ['that begins with a mark', '\u0301Ada'],
    ['that runs over its lines', `A${'\u0316'.repeat(5)}da`],
    ['of a private kind', '\uE000\uE001\uE002'],
    ['with half a pair', 'Ada\uD800'],
    ['with markup', '<b>Ada'],
    ['with an emoji', 'Ada😀'],
    ['with a quote', "O'Neill"],
  ];
  for (const [what, name] of refused) it(`are not ${what}`, () => expect(accepted(name)).to.equal(false));

  it('are kept in one form, and are the same without regard to case', () => {
    expect(usernameSchema.validate('Ａｄａ').value).to.equal('Ada');
    expect(normalizeUsername('e\u0301')).to.equal('é');
    for (const [one, other] of [
      ['ADA', 'ada'],
      ['ΣΑΣ', 'σας'],
      ['σασ', 'σας'],
      ['Straße', 'STRASSE'],
      ['ﬁn', 'FIN'],
    ] as const)
      expect(usernameKey(one)).to.equal(usernameKey(other));
  });
});

describe('avatars', () => {
  it('are https only', () => {
    expect(avatarUrlSchema.validate('https://example.org/a.png?x=1').error).to.equal(undefined);
    for (const url of [
      'http://example.org',
      'javascript:alert(1)',
      'data:image/png;base64,AA',
      '//example.org/a',
      'https://a b',
      'https://a"b',
      'https:',
    ])
      expect(avatarUrlSchema.validate(url).error, url).not.to.equal(undefined);
  });
});
