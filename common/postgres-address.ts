import { readFileSync } from 'node:fs';
import type { ConnectionOptions } from 'node:tls';
import { ConfigError } from './config-error.ts';

const sslModes = ['disable', 'allow', 'prefer', 'require', 'verify-ca', 'verify-full'] as const;
type SslMode = (typeof sslModes)[number];

/** What DATABASE_URL says, in libpq's sense. */
export interface PostgresAddress {
  readonly user: string | undefined;
  readonly password: string | undefined;
  readonly database: string | undefined;
  /** In the order in which they are tried. A host that begins with a slash is the folder of a socket. */
  readonly hosts: readonly { readonly host: string; readonly port: number }[];
  /** The ways in which a connection is protected, in the order in which they are tried; false is not at all. */
  readonly protections: readonly (false | ConnectionOptions)[];
  /** whether a server that only reads is passed over */
  readonly needsWrites: boolean;
}

const DEFAULT_PORT = 5432;
const forms =
  'postgres://user:password@host:5432/database, postgres://…@one,two/database or postgres:///database?host=/folder';

/** @throws ConfigError that says what is wrong with an address, and what is right; without the password */
export function parsePostgresAddress(url: string): PostgresAddress {
  const parts = /^postgres(?:ql)?:\/\/(?:(.*)@)?([^/?@]*)(?:\/([^?]*))?(?:\?(.*))?$/s.exec(url);
  if (!parts) throw new ConfigError(`DATABASE_URL must be an address such as ${forms}.`);
  const [, userInfo, authority = '', path, query] = parts;
  const given = new URLSearchParams(query);
  const parameter = (name: string): string | undefined => given.get(name) || undefined;
  const colon = userInfo?.indexOf(':') ?? -1;
  const user = userInfo === undefined || colon < 0 ? userInfo : userInfo.slice(0, colon);
  const password = userInfo === undefined || colon < 0 ? undefined : userInfo.slice(colon + 1);
  const attributes = parameter('target_session_attrs') ?? 'any';
  if (!['any', 'read-write', 'primary'].includes(attributes))
    throw new ConfigError(
      `DATABASE_URL has target_session_attrs=${attributes}. Use read-write, because Laurel writes, or any.`,
    );
  const hosts = hostsOf(parameter('host') ?? decode(authority), parameter('port'));
  return {
    user: decode(user) ?? parameter('user'),
    password: decode(password) ?? parameter('password'),
    database: decode(path) || parameter('dbname'),
    hosts,
    protections: protectionsOf(parameter),
    needsWrites: attributes !== 'any' || hosts.length > 1,
  };
}

const decode = <T extends string | undefined>(text: T): T => {
  try {
    return (text === undefined ? text : decodeURIComponent(text)) as T;
  } catch {
    throw new ConfigError('DATABASE_URL has a % that encodes nothing. Write a % of a password as %25.');
  }
};

function hostsOf(list: string | undefined, ports: string | undefined): { host: string; port: number }[] {
  const given = ports?.split(',') ?? [];
  return (list || 'localhost').split(',').map((item, i) => {
    const [, bracketed, plain, own] = /^(?:\[([^\]]+)\]|([^:]*))(?::(\d+))?$/.exec(item) ?? [];
    const host = bracketed ?? plain;
    const port = Number(own ?? given[i] ?? (given.length === 1 ? given[0] : undefined) ?? DEFAULT_PORT);
    if (host === undefined || !Number.isInteger(port) || port < 1 || port > 65_535)
      throw new ConfigError(`DATABASE_URL has no host that can be read. Write it as in ${forms}.`);
    return { host: host === '' ? 'localhost' : host, port };
  });
}

function protectionsOf(parameter: (name: string) => string | undefined): (false | ConnectionOptions)[] {
  const said = parameter('sslmode');
  const mode = said === 'no-verify' ? 'require' : said;
  if (mode !== undefined && !(sslModes as readonly string[]).includes(mode))
    throw new ConfigError(`DATABASE_URL has sslmode=${mode}. It can be ${sslModes.join(', ')}.`);
  const file = (name: string): string | undefined => {
    const path = parameter(name);
    if (path === undefined || (name === 'sslrootcert' && path === 'system')) return undefined;
    try {
      return readFileSync(path, 'utf8');
    } catch (cause) {
      throw new ConfigError(
        `DATABASE_URL has ${name}=${path}, which cannot be read. Give the path of a file in PEM form.`,
        {
          cause,
        },
      );
    }
  };
  const [ca, cert, key] = ['sslrootcert', 'sslcert', 'sslkey'].map(file);
  const files = {
    ...(ca !== undefined && { ca }),
    ...(cert !== undefined && { cert }),
    ...(key !== undefined && { key }),
  };
  const unverified = { ...files, rejectUnauthorized: false };
  // The chain is looked at, the name is not.
  const chainOnly = { ...files, rejectUnauthorized: true, checkServerIdentity: () => undefined };
  switch (mode as SslMode | undefined) {
    case 'allow':
      return [false, unverified];
    case 'prefer':
      return [unverified, false];
    case 'require':
      // As in libpq: with a root certificate at hand it is looked at.
      return said === 'require' && parameter('sslrootcert') !== undefined ? [chainOnly] : [unverified];
    case 'verify-ca':
      return [chainOnly];
    case 'verify-full':
      return [{ ...files, rejectUnauthorized: true }];
    case 'disable':
    case undefined:
      return [false];
  }
}

/** An address without its password, for people. */
export const withoutPassword = (url: string): string =>
  url.replace(/^(\w+:\/\/[^:@/?]*):.*@/s, '$1:***@').replace(/([?&]password=)[^&]*/g, '$1***');
