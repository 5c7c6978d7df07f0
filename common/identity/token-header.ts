import jwt from 'jsonwebtoken';

/** A token's header, of which nothing has been verified; undefined for text that is no token. Never throws. */
export function tokenHeader(token: string): jwt.JwtHeader | undefined {
  try {
    return jwt.decode(token, { complete: true })?.header;
  } catch {
    return undefined; // its payload is not JSON
  }
}
