import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { chmod, writeFile } from 'node:fs/promises';
import { once } from 'node:events';
import { connect, createServer, type AddressInfo } from 'node:net';
import { delimiter, join } from 'node:path';
import pg from 'pg';
import { freePort } from '../../dev/ports.ts';
import { eventually } from '../support/eventually.ts';

/** A pooler in front of a database. */
export interface Pooler {
  /** the database's address, through the pooler */
  readonly url: string;
  stop(): Promise<void>;
}

/** The program, or undefined on a machine that has none. */
export function findPgBouncer(): string | undefined {
  const folders = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin', '/usr/local/sbin'];
  return folders.map((folder) => join(folder, 'pgbouncer')).find((path) => existsSync(path));
}

const through = (databaseUrl: string, port: number): string => {
  const url = new URL(databaseUrl);
  url.port = String(port);
  return url.href;
};

/** PgBouncer with transaction pooling, all else as it is by default. */
export async function startPgBouncer(program: string, folder: string, databaseUrl: string): Promise<Pooler> {
  const { hostname, port, username, password } = new URL(databaseUrl);
  const own = await freePort();
  await writeFile(join(folder, 'users.txt'), `"${username}" "${decodeURIComponent(password)}"\n`);
  await writeFile(
    join(folder, 'pgbouncer.ini'),
    `[databases]\n* = host=${hostname} port=${port}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = ${own}
unix_socket_dir =\nauth_type = scram-sha-256\nauth_file = ${join(folder, 'users.txt')}\npool_mode = transaction\n`,
  );
  await chmod(folder, 0o755);
  const nobody = process.getuid?.() === 0 ? { uid: 65_534, gid: 65_534 } : {};
  const child = spawn(program, ['-q', join(folder, 'pgbouncer.ini')], { stdio: 'ignore', ...nobody });
  child.on('error', () => undefined); // the check below tells
  const url = through(databaseUrl, own);
  await eventually(
    async () => {
      const client = new pg.Client({ connectionString: url });
      client.on('error', () => undefined);
      try {
        await client.connect();
      } finally {
        await client.end();
      }
    },
    { timeoutMs: 10_000 },
  );
  return {
    url,
    async stop() {
      const ended = once(child, 'exit');
      child.kill('SIGINT');
      await ended;
    },
  };
}

const tracked = ['user', 'database', 'client_encoding', 'datestyle', 'timezone', 'application_name'];

/** Names and values of a start-up packet (32-bit length, 32-bit version, then texts that end with a zero). */
function parametersOf(packet: Buffer): Map<string, string> {
  const texts = packet.subarray(8).toString().split('\0');
  const found = new Map<string, string>();
  for (let i = 0; i + 1 < texts.length && texts[i]; i += 2) found.set(texts[i] ?? '', texts[i + 1] ?? '');
  return found;
}

/** Refuses the start-up parameters that PgBouncer refuses; all else passes. */
export async function startStrictProxy(
  databaseUrl: string,
): Promise<Pooler & { readonly refusals: string[] }> {
  const target = new URL(databaseUrl);
  const refusals: string[] = [];
  const server = createServer((client) => {
    client.on('error', () => undefined);
    client.once('data', (packet) => {
      const foreign = [...parametersOf(packet).keys()].find((name) => !tracked.includes(name.toLowerCase()));
      if (foreign !== undefined) {
        refusals.push(foreign);
        const fields = Buffer.from(`SFATAL\0C08P01\0Munsupported startup parameter: ${foreign}\0\0`);
        const head = Buffer.alloc(5);
        head.write('E');
        head.writeInt32BE(fields.length + 4, 1);
        client.end(Buffer.concat([head, fields]));
        return;
      }
      const upstream = connect(Number(target.port), target.hostname);
      upstream.on('error', () => client.destroy());
      client.on('close', () => upstream.destroy());
      upstream.on('close', () => client.destroy());
      upstream.write(packet);
      client.pipe(upstream);
      upstream.pipe(client);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: through(databaseUrl, (server.address() as AddressInfo).port),
    refusals,
    stop: () => new Promise((resolve) => server.close(() => resolve())),
  };
}
