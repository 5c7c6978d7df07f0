import { execFile, spawn } from 'node:child_process';
import { closeSync, existsSync, openSync } from 'node:fs';
import { copyFile, mkdir, readFile, writeFile } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { promisify } from 'node:util';
import { freePort } from '../../dev/ports.ts';
import { eventually } from '../support/eventually.ts';
import { root } from './compose-file.ts';

const run = promisify(execFile);
const shipped = join(root, 'deploy/nginx');

/** The program, or undefined on a machine that has none. */
export function findNginx(): string | undefined {
  const folders = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin', '/usr/local/sbin'];
  return folders.map((folder) => join(folder, 'nginx')).find((path) => existsSync(path));
}

/** Temporary files beside the configuration: the program's own folders may belong to root. */
const ownFolders = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
  .map((kind) => `${kind}_temp_path ${kind};`)
  .join('\n');

const settings = 'pid nginx.pid;';

/** The shipped nginx.conf and laurel.conf, between upstreams and a port of the test. */
async function prepare(folder: string, upstreams: string, listen: string): Promise<void> {
  await mkdir(folder, { recursive: true });
  await copyFile(join(shipped, 'nginx.conf'), join(folder, 'nginx.conf'));
  await copyFile(join(shipped, 'laurel.conf'), join(folder, 'laurel.conf'));
  await writeFile(join(folder, 'upstreams.conf'), `${ownFolders}\n${upstreams}`);
  await writeFile(join(folder, 'listen.conf'), listen);
}

const argumentsFor = (folder: string, more: string): string[] => [
  ...['-p', folder, '-c', join(folder, 'nginx.conf'), '-e', 'stderr', '-g', `${settings} ${more}`],
];

/** `nginx -t`. @returns what it says @throws when it refuses the configuration */
async function test(nginx: string, folder: string): Promise<string> {
  // It opens /dev/stdout anew, which the socket that Node makes of a pipe does not allow.
  const command = ['-c', 'exec "$@" > /dev/null', 'sh', nginx, '-t', ...argumentsFor(folder, '')];
  return (await run('sh', command)).stderr;
}

/** Whether nginx takes the upstreams and the port that compose mounts, names replaced by addresses that exist here. */
export async function testShipped(nginx: string, folder: string): Promise<string> {
  const { stderr } = await run(nginx, ['-v']);
  const [major = 0, minor = 0, patch = 0] = (/nginx\/(\d+)\.(\d+)\.(\d+)/.exec(stderr) ?? [])
    .slice(1)
    .map(Number);
  const knowsResolve = major * 1e6 + minor * 1e3 + patch >= 1_027_003;
  const upstreams = (await readFile(join(shipped, 'upstreams.conf'), 'utf8'))
    .replaceAll(/server \w+:/g, 'server 127.0.0.1:')
    .replaceAll(' resolve;', knowsResolve ? ' resolve;' : ';');
  const listen = (await readFile(join(shipped, 'listen.conf'), 'utf8')).replace(
    'listen 80;',
    `listen 127.0.0.1:${await freePort()};`,
  );
  await prepare(folder, upstreams, listen);
  return test(nginx, folder);
}

export interface RunningNginx {
  readonly url: string;
  accessLog(): Promise<string>;
  stop(): Promise<void>;
}

/** Starts nginx in front of processes on this machine. */
export async function startNginx(
  nginx: string,
  folder: string,
  tiers: { api: readonly string[]; realtime: readonly string[] },
): Promise<RunningNginx> {
  const servers = (urls: readonly string[]): string =>
    urls.map((url) => `server ${new URL(url).host};`).join(' ');
  const port = await freePort();
  await prepare(
    folder,
    `upstream laurel_api { ${servers(tiers.api)} keepalive 32; keepalive_timeout 4s; }
     upstream laurel_realtime { hash $remote_addr consistent; ${servers(tiers.realtime)} keepalive 32; keepalive_timeout 4s; }`,
    `listen 127.0.0.1:${port};`,
  );
  await test(nginx, folder);
  const logFile = join(folder, 'output.log');
  // A file and no pipe, for the same reason.
  const output = openSync(logFile, 'a');
  const child = spawn(nginx, argumentsFor(folder, 'daemon off;'), { stdio: ['ignore', output, output] });
  closeSync(output);
  const ended = new Promise<void>((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', () => resolve());
  });
  const url = `http://127.0.0.1:${port}`;
  await eventually(() => fetch(url), { timeoutMs: 10_000 });
  return {
    url,
    accessLog: () => readFile(logFile, 'utf8'),
    async stop() {
      child.kill('SIGTERM');
      await ended;
    },
  };
}
