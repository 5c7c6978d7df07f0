import Joi from 'joi';

const MIN = 3;
/** Two characters are a whole name in Chinese, Japanese and Korean. */
const MIN_EAST_ASIAN = 2;
const MAX = 50;

const eastAsian =
  /[\p{Script=Han}\p{Script=Hangul}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Bopomofo}]/u;
/** Letters, marks and digits of any script, `_ - .`, and single spaces inside. */
const allowed = /^[\p{L}\p{N}_.-][\p{L}\p{M}\p{N}_.-]*(?: [\p{L}\p{N}_.-][\p{L}\p{M}\p{N}_.-]*)*$/u;
/** Letters and marks that nobody sees, and piles of marks that run over the lines above and below. */
const deceptive = /\p{Default_Ignorable_Code_Point}|\p{M}{5}/u;
/** Inside a word, as in O'Brien. */
const apostrophe = /(?<=[\p{L}\p{M}\p{N}])['’](?=[\p{L}\p{N}])/gu;

/** Scripts whose spelling needs ZWNJ and ZWJ: Arabic (Persian, Urdu …) and those of India. */
const joined = [
  ['Arab', 'Syrc', 'Deva', 'Beng', 'Guru', 'Gujr', 'Orya'],
  ['Taml', 'Telu', 'Knda', 'Mlym', 'Sinh'],
]
  .flat()
  .map((script) => `\\p{Script_Extensions=${script}}`)
  .join('');
const joiner = new RegExp(`(?<=[${joined}])[\\u200C\\u200D](?=[${joined}])`, 'gu');
const emoji = new RegExp('\\p{RGI_Emoji}', 'gv');

/** The form in which a user name is kept and shown: as it was typed, with accents composed. */
export const normalizeUsername = (name: string): string => name.normalize('NFC');

/** Lower case by way of capitals, since ς and σ, or ß and ss, share theirs. The Turkish ı is a letter of its own: its capital is i's. */
const foldCase = (text: string): string =>
  text
    .split('ı')
    .map((part) => part.toUpperCase().toLowerCase())
    .join('ı');

/**
 * The form in which user names are compared: without regard to case, compatibility forms, the kind of apostrophe, and
 * characters that nobody sees.
 */
export const usernameKey = (name: string): string =>
  foldCase(name.normalize('NFKC'))
    .normalize('NFKC')
    .replace(/’/g, "'")
    .replace(/\u200C|\u200D|\uFE0E|\uFE0F/g, '');

/** Whether text, once normalized, has the form of a user name. */
function isUsername(name: string, withEmoji: boolean): boolean {
  const compatible = name.normalize('NFKC');
  const length = [...compatible].length;
  const least = eastAsian.test(compatible) ? MIN_EAST_ASIAN : MIN;
  if (length < least || Math.max(length, [...name].length) > MAX) return false;
  const plain = (withEmoji ? name.replace(emoji, 'x') : name).replace(joiner, '').replace(apostrophe, 'x');
  return allowed.test(plain) && !deceptive.test(plain);
}

const form = 'letters and digits of any script, `_ - .`, apostrophes inside, and single inner spaces';

/**
 * A user name from outside: 3 to 50 characters, or from 2 in Chinese, Japanese and Korean.
 *
 * @param withEmoji USERNAME_EMOJI
 */
export const createUsernameSchema = (withEmoji: boolean): Joi.StringSchema =>
  Joi.string()
    .max(200)
    .custom((value: string, helpers) => {
      const name = normalizeUsername(value);
      return isUsername(name, withEmoji) ? name : helpers.error('username.form');
    })
    .messages({
      'username.form': `must be ${MIN} to ${MAX} letters or digits (from ${MIN_EAST_ASIAN} in Chinese, Japanese and Korean); _ - . ' and single spaces may stand inside`,
    })
    .meta({ minLength: MIN_EAST_ASIAN })
    .description(
      `3 to 50 characters (2 in Chinese, Japanese and Korean): ${form}${withEmoji ? ', emoji' : ''}; unique without regard to case`,
    );

/** As most installations have it: without emoji. */
export const usernameSchema = createUsernameSchema(false);

/**
 * An avatar from outside: an https URL, so that it can be shown on any page.
 *
 * @param hosts where it may be, as `cdn.example.com`; none = anywhere
 */
export const createAvatarUrlSchema = (hosts: readonly string[]): Joi.StringSchema => {
  const httpsOnly = 'must be an https address, as https://images.example.org/ada.png';
  const schema = Joi.string()
    .uri({ scheme: ['https'] })
    .max(2000)
    .messages({ 'string.uri': httpsOnly, 'string.uriCustomScheme': httpsOnly });
  if (hosts.length === 0) return schema.description('https only');
  const allowed = new Set(hosts.map((host) => host.toLowerCase()));
  return schema
    .custom((url: string, helpers) =>
      URL.canParse(url) && allowed.has(new URL(url).host.toLowerCase()) ? url : helpers.error('avatar.host'),
    )
    .messages({ 'avatar.host': `must be on one of these hosts: ${hosts.join(', ')}` })
    .description(`https only, on ${hosts.join(', ')}`);
};

/** As most installations have it: from anywhere. */
export const avatarUrlSchema = createAvatarUrlSchema([]);
