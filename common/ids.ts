import { randomBytes } from 'node:crypto';
import { uuidv7 } from 'uuidv7';

/** A new id of our own: a UUIDv7, so that ids sort by the time they were made and indexes stay dense. */
export const newId = (): string => uuidv7();

/** Letters that an id from outside may have. None can be mistaken for a key separator or a marker in Redis. */
export const userIdPattern = /^[A-Za-z0-9][A-Za-z0-9_.:@|+=-]{0,127}$/;

/**
 * Whether the `sub` of an outside identity service may be a user's public id: it is one of the form, names no person
 * as an e-mail address does, and is not what the API calls the caller.
 */
export const isPublicId = (subject: string): boolean =>
  userIdPattern.test(subject) && !subject.includes('@') && subject.toLowerCase() !== 'me';

/** Any UUID, as clients may make them for client-signed completions. */
export const uuidPattern = /^[0-9a-f]{8}-[0-9a-f]{4}-[1-8][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/i;

/** An unguessable token of 256 bits, base64url (43 characters). */
export const newSecretToken = (): string => randomBytes(32).toString('base64url');
