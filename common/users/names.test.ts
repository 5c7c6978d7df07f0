import { expect } from 'chai';
import {
  avatarUrlSchema,
  createUsernameSchema,
  normalizeUsername,
  usernameKey,
  usernameSchema,
} from './names.ts';
import { reservedNames } from './reserved-names.ts';

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
    '小明',
    '민수',
    'はな',
    '王1',
    "O'Brien",
    'D’Angelo',
    'Hawai\u02BBi',
    'น้ำใจ4723',
    'می\u200Cخواهم',
    'क्\u200Dष',
    'ශ්\u200Dරී ලංකා',
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
    ['with a quote at an end', "'Neill"],
    ['with a quote at the other end', 'Neill’'],
    ['with two quotes', "O''Neill"],
    ['with a double quote', 'O"Neill'],
    ['with a joiner between letters that need none', 'Ada\u200CL'],
    ['with a joiner at an end', 'می\u200C'],
    ['with two joiners', 'می\u200C\u200Cخواهم'],
    ['a single letter of an East Asian script', '明'],
    ['two letters of another script', 'Ян'],
  ];
  for (const [what, name] of refused) it(`are not ${what}`, () => expect(accepted(name)).to.equal(false));

  it('are kept as they are typed, with accents composed', () => {
    for (const name of ['น้ำใจ4723', 'Ａｄａ', 'می\u200Cخواهم', 'O’Brien', 'ırmak'])
      expect(usernameSchema.validate(name).value).to.equal(name);
    expect(usernameSchema.validate('e\u0301mile').value).to.equal('émile');
    expect(normalizeUsername('e\u0301')).to.equal('é');
  });

  for (const [one, other] of [
    ['ADA', 'ada'],
    ['Ａｄａ', 'Ada'],
    ['ΣΑΣ', 'σας'],
    ['σασ', 'σας'],
    ['Straße', 'STRASSE'],
    ['ﬁn', 'FIN'],
    ['e\u0301mile', 'Émile'],
    ['\u212Aim', 'kim'],
    ["O'Brien", 'o’brien'],
    ['می\u200Cخواهم', 'میخواهم'],
    ['น้ำใจ', 'น้\u0E4D\u0E32ใจ'],
  ] as const)
    it(`are the same: ${one} and ${other}`, () => expect(usernameKey(one)).to.equal(usernameKey(other)));

  for (const [one, other] of [
    ['ırmak', 'irmak'],
    ['IRMAK', 'ırmak'],
    ['İrem', 'irem'],
    ['Zoe', 'Zoë'],
  ] as const)
    it(`are two: ${one} and ${other}`, () => expect(usernameKey(one)).not.to.equal(usernameKey(other)));

  it('may have emoji where the installation says so, and nothing else that nobody sees', () => {
    const schema = createUsernameSchema(true);
    for (const name of ['Ada😀', '👩‍🚀 Ada', '🇹🇭ไทย', '👍🏽👍🏽👍🏽'])
      expect(schema.validate(name).error, name).to.equal(undefined);
    for (const name of ['A\u200Bda', 'Ada\uFE0F', 'A\u200Dda', '<😀>', '😀 ', '😀😀'])
      expect(schema.validate(name).error, name).not.to.equal(undefined);
    expect(usernameKey('Ada❤️')).to.equal(usernameKey('ada❤'));
  });
});

describe('reserved names', () => {
  const isReserved = reservedNames('Chief of Games');
  for (const name of [
    'admin',
    'ADMIN',
    'Admin_',
    'a.d.m.i.n',
    '\u0430dmin',
    'adm1n',
    'Ádmin',
    'ａｄｍｉｎ',
    'Moderator',
    'm0d',
    'Laurel',
    'lAUREl',
    'root',
    'Support',
    'SYSTEM',
    'chief-of-games',
  ])
    it(`are not to be had as ${name}`, () => expect(isReserved(name)).to.equal(true));
  for (const name of ['Ada', 'admiral', 'Rooting', 'modest', 'laureline', '小明', 'administrator of mine'])
    it(`leave ${name} free`, () => expect(isReserved(name)).to.equal(false));
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
