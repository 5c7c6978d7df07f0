import { execFile } from 'node:child_process';
import { cp, mkdir, readFile, symlink } from 'node:fs/promises';
import { basename, dirname, join, relative, resolve } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

type Step =
  | { readonly kind: 'run'; readonly command: string }
  | {
      readonly kind: 'copy';
      readonly from: string | undefined;
      readonly sources: string[];
      readonly to: string;
    };

/** One stage of a Dockerfile, as far as our own needs it. */
export interface Stage {
  readonly name: string;
  readonly base: string;
  readonly env: Record<string, string>;
  readonly steps: Step[];
  user?: string;
  command?: string[];
}

/** The only folder that our stages work in; the clean directory stands in for it. */
const WORKDIR = '/app';

/** @throws on an instruction that this reader does not know, so that none is passed over in silence */
export function parseDockerfile(text: string): Stage[] {
  const stages: Stage[] = [];
  const lines = text.split('\n').filter((line) => line.trim() !== '' && !line.startsWith('#'));
  for (const line of lines) {
    const [, instruction = '', rest = ''] = /^(\w+)\s+(.*)$/.exec(line) ?? [];
    if (instruction === 'FROM') {
      const [base = '', , name = String(stages.length)] = rest.split(/\s+/);
      stages.push({ name, base, env: {}, steps: [] });
      continue;
    }
    const stage = stages.at(-1);
    if (!stage) throw new Error(`${line}: before the first FROM`);
    // Options of the instruction itself come first: --mount, --from.
    const words = rest.replace(/^(--\S+\s+)+/, '').split(/\s+/);
    if (instruction === 'RUN') stage.steps.push({ kind: 'run', command: words.join(' ') });
    else if (instruction === 'COPY') {
      const from = /--from=(\S+)/.exec(rest)?.[1];
      stage.steps.push({ kind: 'copy', from, sources: words.slice(0, -1), to: words.at(-1) ?? '' });
    } else if (instruction === 'ENV') {
      const [name = '', ...value] = rest.split('=');
      stage.env[name] = value.join('=');
    } else if (instruction === 'USER') stage.user = rest;
    else if (instruction === 'CMD') stage.command = JSON.parse(rest) as string[];
    else if (instruction === 'WORKDIR' && rest === WORKDIR) continue;
    else if (instruction === 'EXPOSE') continue;
    else throw new Error(`${line}: an instruction that the test does not know`);
  }
  return stages;
}

/** Which paths of the build context .dockerignore leaves out. Names, folders and `**` + `/*.ending`, which is what ours has. */
function parseDockerignore(text: string): (path: string) => boolean {
  const patterns = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  const rules = patterns.map((pattern) => {
    const ending = /^\*\*\/\*(\.[\w.]+)$/.exec(pattern)?.[1];
    if (ending !== undefined) return (path: string) => path.endsWith(ending);
    const start = /^([\w./-]+)\*$/.exec(pattern)?.[1];
    if (start !== undefined) return (path: string) => path.startsWith(start);
    if (/[*!?[]/.test(pattern)) throw new Error(`${pattern}: a pattern that the test does not know`);
    return (path: string) => path === pattern || path.startsWith(`${pattern}/`);
  });
  return (path) => rules.some((ignores) => ignores(path));
}

/**
 * Does by hand, in clean directories below `target`, what `docker build` would do: each stage's COPY and RUN lines, in
 * order. Not done: the base image, the user, and the layers.
 *
 * @param context the folder that is sent to the build
 * @returns the folder of each stage
 */
export async function buildByHand(
  stages: readonly Stage[],
  context: string,
  target: string,
): Promise<Map<string, string>> {
  const ignored = parseDockerignore(await readFile(join(context, '.dockerignore'), 'utf8'));
  const folders = new Map<string, string>();
  for (const stage of stages) {
    const folder = join(target, stage.name);
    await mkdir(folder, { recursive: true });
    folders.set(stage.name, folder);
    for (const step of stage.steps) {
      if (step.kind === 'copy') await copy(step, folder, context, ignored, folders);
      // What the checkout's own `npm ci` put there is the same, by the same lock file, and 20 s cheaper.
      else if (step.command === 'npm ci')
        await symlink(join(context, 'node_modules'), join(folder, 'node_modules'));
      else await runInShell(step.command, folder, stage.env);
    }
  }
  return folders;
}

async function copy(
  { from, sources, to }: Extract<Step, { kind: 'copy' }>,
  folder: string,
  context: string,
  ignored: (path: string) => boolean,
  folders: ReadonlyMap<string, string>,
): Promise<void> {
  const origin = from === undefined ? context : folders.get(from);
  if (origin === undefined) throw new Error(`there is no stage ${from ?? ''} before this one`);
  for (const source of sources) {
    const path = join(origin, source.replace(WORKDIR, '.'));
    const isFolderItself = source === '.' || from !== undefined;
    const destination = resolve(folder, isFolderItself ? to : join(to, basename(path)));
    await mkdir(dirname(destination), { recursive: true });
    await cp(path, destination, {
      recursive: true,
      filter: (file) => from !== undefined || !ignored(relative(context, file)),
    });
  }
}

/** Which variables of npm's own a nested npm may see: the others name this checkout's folders. */
const npmMaySee = /^npm_config_(registry|cache|userconfig)$/i;

async function runInShell(command: string, cwd: string, env: Record<string, string>): Promise<void> {
  const inherited = Object.entries(process.env).filter(
    ([name]) => !/^(npm_|NODE_)/i.test(name) || npmMaySee.test(name) || name === 'NODE_EXTRA_CA_CERTS',
  );
  try {
    await run('sh', ['-c', command], {
      cwd,
      env: {
        ...Object.fromEntries(inherited),
        ...env,
        npm_config_prefer_offline: 'true',
        npm_config_audit: 'false',
      },
      maxBuffer: 1 << 24,
    });
  } catch (error) {
    // The compiler's complaints are on its standard output.
    const { stdout = '', stderr = '' } = error as { stdout?: string; stderr?: string };
    throw new Error(`RUN ${command} failed:\n${stdout}${stderr}`, { cause: error });
  }
}
