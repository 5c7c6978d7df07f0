import { usernameKey } from './names.ts';

/** Names under which a player could pass for the people who run the service. */
const reserved = [
  ['admin', 'admins', 'administrator', 'administrators', 'superadmin', 'sysadmin', 'superuser', 'root'],
  ['operator', 'operators', 'moderator', 'moderators', 'mod', 'mods', 'support', 'staff', 'official'],
  ['system', 'webmaster', 'postmaster', 'laurel', 'null', 'undefined'],
].flat();

/** Letters and digits that pass for a Latin letter at first sight, each with that letter. */
const lookAlikes = new Map(
  Object.entries({
    a: 'аαɑ4',
    b: 'вβ8',
    c: 'сϲ',
    d: 'ԁ',
    e: 'еεє3',
    g: 'ɡ9',
    h: 'һн',
    i: 'іιı1l|ӏӀ',
    j: 'јϳ',
    k: 'кκ',
    m: 'мϻ',
    n: 'ո',
    o: 'оοօ0',
    p: 'рρ',
    q: 'ԛ',
    r: 'гг',
    s: 'ѕ5',
    t: 'тτ7',
    u: 'υս',
    v: 'ѵν',
    w: 'ԝѡ',
    x: 'хχ',
    y: 'уγү',
    z: 'ᴢ2',
  }).flatMap(([latin, others]) => [...others].map((other) => [other, latin] as const)),
);

/** What a hasty reader sees: without accents and separators, look-alikes as Latin letters. */
const skeleton = (name: string): string =>
  [
    ...usernameKey(name)
      .normalize('NFD')
      .replace(/[\p{M}\p{P}\p{S}\p{Z}]/gu, ''),
  ]
    .map((letter) => lookAlikes.get(letter) ?? letter)
    .join('');

/**
 * Names that nobody may take, in any spelling that reads like one.
 *
 * @param administrator ADMIN_USERNAME: reserved before `seed` has made the account, too
 */
export function reservedNames(administrator: string): (name: string) => boolean {
  const taken = new Set([...reserved, administrator].map(skeleton));
  return (name) => taken.has(skeleton(name));
}
