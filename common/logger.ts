import { pino, type DestinationStream, type Logger } from 'pino';

export type { Logger };

/** A log that cannot be written, because the disk is full or its reader has gone, ends nobody. */
function toStandardOutput(): DestinationStream {
  const stream = pino.destination(1);
  stream.on('error', () => undefined);
  return stream;
}

/** Fields that are never written, wherever somebody logs them. */
const secrets = [
  'password',
  'token',
  'accessToken',
  'refreshToken',
  'actionToken',
  'signingKey',
  'secret',
  'email',
  'authorization',
  'cookie',
];

/**
 * Structured logs, one JSON object a line. What could tell a secret or a person is cut out at any of the first levels.
 *
 * @param tier which part of Laurel speaks: `api`, `workers`, `realtime`, …
 */
export function createLogger(tier: string, level: string, destination?: DestinationStream): Logger {
  const options = {
    level,
    base: { tier, pid: process.pid },
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label: string) => ({ level: label }) },
    redact: { paths: secrets.flatMap((name) => [name, `*.${name}`]), censor: '[hidden]' },
  };
  return pino(options, destination ?? toStandardOutput());
}
