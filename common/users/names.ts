import Joi from 'joi';

const MIN = 3;
const MAX = 50;
/** Letters, marks and digits of any script, `_ - .`, and single spaces inside. */
const allowed = /^[\p{L}\p{N}_.-][\p{L}\p{M}\p{N}_.-]*(?: [\p{L}\p{N}_.-][\p{L}\p{M}\p{N}_.-]*)*$/u;
/** Letters and marks that nobody sees, and piles of marks that run over the lines above and below. */
const deceptive = /\p{Default_Ignorable_Code_Point}|\p{M}{5}/u;

/** The form in which a user name is kept and shown. */
export const normalizeUsername = (name: string): string => name.normalize('NFKC');

/** The form in which user names are compared. By way of capitals, since ς and σ, or ß and ss, share theirs. */
export const usernameKey = (name: string): string =>
  normalizeUsername(name).toUpperCase().toLowerCase().normalize('NFKC');

/** A user name from outside: 3 to 50 characters once normalized. */
export const usernameSchema = Joi.string()
  .max(200)
  .custom((value: string, helpers) => {
    const name = normalizeUsername(value);
    const length = [...name].length;
    if (length < MIN || length > MAX || !allowed.test(name) || deceptive.test(name))
      return helpers.error('username.form');
    return name;
  })
  .messages({
    'username.form': `{{#label}} must be ${MIN} to ${MAX} letters, digits, _ - . or single spaces inside`,
  })
  .meta({ minLength: MIN })
  .description(
    '3 to 50 letters and digits of any script, `_ - .` and single inner spaces; unique without regard to case',
  );

/** An avatar from outside: an https URL, so that it can be shown on any page. */
export const avatarUrlSchema = Joi.string()
  .uri({ scheme: ['https'] })
  .max(2000)
  .description('https only');
