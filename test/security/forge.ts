import { createHmac, generateKeyPairSync, sign, type KeyObject } from 'node:crypto';
import { createServer, request as httpRequest, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import jwt from 'jsonwebtoken';
import type { Answer } from '../support/player.ts';

/** The secrets of the systems under test, which an attacker does not have. */
export const ACCESS_SECRET = 'tests-sign-access-tokens-with-this-0001';
export const ACTION_SECRET = 'tests-sign-action-tokens-with-this-0001';

const encode = (value: unknown): string =>
  Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url');

/** A token's header and payload, unverified. */
export function open(token: string): { header: any; payload: any; signature: string } {
  const [header = '', payload = '', signature = ''] = token.split('.');
  const parse = (part: string): unknown => JSON.parse(Buffer.from(part, 'base64url').toString());
  return { header: parse(header), payload: parse(payload), signature };
}

/** The same token with other claims or another header, under the old signature. */
export function tamper(
  token: string,
  claims: Record<string, unknown>,
  header: Record<string, unknown> = {},
): string {
  const genuine = open(token);
  return [
    encode({ ...genuine.header, ...header }),
    encode({ ...genuine.payload, ...claims }),
    genuine.signature,
  ].join('.');
}

/** A token put together by hand: with any header, any payload (text as it is), and HMAC by any key, or no signature. */
export function assemble(
  header: unknown,
  payload: unknown,
  secret?: string | Buffer,
  hash = 'sha256',
): string {
  const signed = `${encode(header)}.${encode(payload)}`;
  return `${signed}.${secret === undefined ? '' : createHmac(hash, secret).update(signed).digest('base64url')}`;
}

/** A well-signed access token, as the outside identity service would make one. */
export const accessToken = (claims: Record<string, unknown>, options: jwt.SignOptions = {}): string =>
  jwt.sign(claims, ACCESS_SECRET, {
    algorithm: 'HS256',
    ...(claims['exp'] === undefined && { expiresIn: 600 }),
    ...options,
  });

/** A little identity service: its JWKS can be rotated, broken and counted. */
export class IdentityService {
  readonly keys = new Map<string, { privateKey: KeyObject; publicKey: KeyObject }>();
  requests = 0;
  broken = false;
  readonly #server: Server = createServer((_, response) => {
    this.requests += 1;
    if (this.broken) response.writeHead(500).end();
    else
      response.writeHead(200, { 'content-type': 'application/json' }).end(
        JSON.stringify({
          keys: [...this.keys].map(([kid, { publicKey }]) => ({
            ...publicKey.export({ format: 'jwk' }),
            kid,
            use: 'sig',
          })),
        }),
      );
  });

  async start(): Promise<void> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve));
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/jwks.json`;
  }

  addKey(kid: string, type: 'rsa' | 'ec' | 'ed25519' = 'rsa'): void {
    const make = {
      rsa: () => generateKeyPairSync('rsa', { modulusLength: 2048 }),
      ec: () => generateKeyPairSync('ec', { namedCurve: 'P-256' }),
      ed25519: () => generateKeyPairSync('ed25519'),
    };
    this.keys.set(kid, make[type]());
  }

  /** A token that does not say which key signed it. */
  signNameless(kid: string, claims: Record<string, unknown>): string {
    const key = this.keys.get(kid)!.privateKey;
    const algorithm = key.asymmetricKeyType === 'rsa' ? 'RS256' : 'ES256';
    return jwt.sign(claims, key, { algorithm, expiresIn: 600 });
  }

  /** A token of an Ed25519 key, which jsonwebtoken cannot sign. */
  signEdDsa(kid: string, claims: Record<string, unknown>): string {
    const now = Math.floor(Date.now() / 1000);
    const payload = { iat: now, exp: now + 600, ...claims };
    const signed = `${encode({ alg: 'EdDSA', typ: 'JWT', kid })}.${encode(payload)}`;
    return `${signed}.${sign(null, Buffer.from(signed), this.keys.get(kid)!.privateKey).toString('base64url')}`;
  }

  sign(kid: string, claims: Record<string, unknown>, options: jwt.SignOptions = {}): string {
    const key = this.keys.get(kid)!.privateKey;
    return jwt.sign(claims, key, {
      algorithm: key.asymmetricKeyType === 'rsa' ? 'RS256' : 'ES256',
      keyid: kid,
      ...(claims['exp'] === undefined && { expiresIn: 600 }),
      ...options,
    });
  }
}

/** Sends a request exactly as written: no library tidies up the path or the headers. */
export function raw(
  base: string,
  method: string,
  path: string,
  headers: Record<string, string | string[]> = {},
  body?: string | Buffer,
): Promise<Answer> {
  const { hostname, port } = new URL(base);
  return new Promise((resolve, reject) => {
    const request = httpRequest({ hostname, port, method, path, headers, agent: false }, (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('end', () => {
        const text = Buffer.concat(chunks).toString();
        let parsed: unknown = text;
        try {
          parsed = JSON.parse(text);
        } catch {
          // Not JSON: the text itself.
        }
        resolve({ status: response.statusCode!, body: parsed, headers: response.headers });
      });
    });
    request.on('error', reject);
    request.end(body);
  });
}
