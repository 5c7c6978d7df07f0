import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readFile, stat } from 'node:fs/promises';
import { networkInterfaces } from 'node:os';
import { createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { expect } from 'chai';
import { after, before } from 'mocha';
import { exists, serversIn, signal } from '../../dev/processes.ts';
import { eventually } from '../support/eventually.ts';
import { ambiguous } from '../support/log-lines.ts';
import { call, Player } from '../support/player.ts';
import { temporaryFolder } from '../support/run-folder.ts';

interface Run {
  /** npm, which leads a process group as it does under a terminal */
  readonly npm: ChildProcess;
  readonly exited: Promise<unknown>;
  readonly output: () => string;
}

describe('npm start', function () {
  this.timeout(120_000);
  let dataDir: string;
  const runs: Run[] = [];

  before(async () => {
    dataDir = join(await temporaryFolder('start'), 'data');
  });
  after(async () => {
    for (const { npm } of runs) signal(-npm.pid!, 'SIGKILL');
    await Promise.all(runs.map(({ exited }) => exited));
  });

  function npmStart(env: Record<string, string> = {}): Run {
    const npm = spawn('npm', ['start'], {
      env: {
        PATH: process.env['PATH'],
        HOME: process.env['HOME'],
        PORT: '0',
        DATA_DIR: dataDir,
        ...env,
      },
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let output = '';
    for (const stream of [npm.stdout, npm.stderr])
      stream.on('data', (chunk: Buffer) => (output += chunk.toString()));
    const run = { npm, exited: once(npm, 'close'), output: () => output };
    runs.push(run);
    return run;
  }

  /** @returns the address that it prints once it is ready */
  const ready = (run: Run): Promise<string> =>
    eventually(
      () => {
        const [, url] = /Scoreboard +(\S+)/.exec(run.output()) ?? [];
        if (url === undefined) throw new Error(`not ready; it said:\n${run.output()}`);
        return url;
      },
      { timeoutMs: 40_000 },
    );

  /** `close` comes when nobody holds npm's output any more: the service itself has ended too. */
  async function allOver({ npm, exited }: Run): Promise<void> {
    await exited;
    expect(await serversIn(dataDir)).to.deep.equal([]);
    // Helpers notice that their parent is gone a moment later.
    await eventually(() => expect(exists(-npm.pid!), 'some process of the group').to.equal(false));
  }

  async function standing(url: string, player: Player): Promise<unknown> {
    const answer = await call(url, 'GET', `/leaderboards/game1/users/${player.userId}`);
    expect(answer.status).to.equal(200);
    return [answer.body.score, answer.body.rank];
  }

  it('serves the main job, ends without a trace, and keeps what it acknowledged even when it is killed', async () => {
    const first = npmStart();
    let url = await ready(first);
    for (const path of ['/healthz', '/readyz', '/', '/main.js', '/docs', '/admin']) {
      expect((await call(url, 'GET', `/${path}`)).status, path).to.equal(200);
    }
    expect((await stat(dataDir)).mode & 0o007, 'the data folder, for others').to.equal(0);
    const figures = await (await fetch(`${url}/metrics`)).text();
    for (const tier of ['api', 'workers', 'realtime'])
      expect(figures).to.match(new RegExp(`^process_cpu_seconds_total\\{tier="${tier}"\\} `, 'm'));
    expect(figures.match(/^# TYPE process_cpu_seconds_total /gm)).to.have.length(1);
    const outside = Object.values(networkInterfaces())
      .flat()
      .find((at) => at && !at.internal && at.family === 'IPv4');
    if (outside) {
      const reached = await fetch(url.replace('localhost', outside.address)).then(
        () => true,
        () => false,
      );
      expect(reached, 'from other machines').to.equal(false);
    }
    const seconds = ['0', new URL(url).port].map((PORT) => npmStart({ PORT }));
    await Promise.all(seconds.map(({ exited }) => exited));
    for (const again of seconds) {
      expect(again.npm.exitCode).to.equal(1);
      // Behind npm's own lines, which begin with ">".
      const said = again
        .output()
        .split('\n')
        .filter((line) => line.trim() !== '' && !line.startsWith('>'));
      const { pid } = JSON.parse(await readFile(join(dataDir, 'owner.json'), 'utf8')) as { pid: number };
      expect(said[0]).to.equal(
        `  Laurel is already running at ${url} (process ${pid}, data folder ${dataDir}).`,
      );
      expect(said.slice(1).join('\n')).to.include(`kill ${pid}`).and.to.include('PORT=0 DATA_DIR=');
      expect(said).to.have.length(3);
    }
    const player = await Player.join(url);
    expect((await player.play(url, 'COMPLETE_MISSION', 'game1')).status).to.equal(200);
    expect(await standing(url, player)).to.deep.equal([100, 1]);
    signal(first.npm.pid!, 'SIGTERM'); // npm alone, as a service manager may do
    await allOver(first);

    const second = npmStart();
    url = await ready(second);
    expect(await standing(url, player)).to.deep.equal([100, 1]);
    const completed = await player.play(url, 'COMPLETE_QUEST', 'game1'); // signed in before the restart
    expect(completed.status).to.equal(200);
    expect(completed.body.score.current).to.equal(150);
    signal(-second.npm.pid!, 'SIGKILL');
    await second.exited;

    const third = npmStart();
    url = await ready(third);
    await eventually(async () => expect(await standing(url, player)).to.deep.equal([150, 1]));
    signal(-third.npm.pid!, 'SIGTERM'); // the whole group, as Ctrl-C does
    await allOver(third);

    const log = (await readFile(join(dataDir, 'laurel.log'), 'utf8')).trim().split('\n');
    const tiers = log.map((line) => (JSON.parse(line) as { tier: string }).tier);
    expect(tiers).to.include.members(['start', 'workers']);
    expect(ambiguous(log), 'lines with a key twice').to.deep.equal([]);
  });

  it('says in plain words what is wrong with a setting, and with a port that is taken', async () => {
    const blocker = createServer().listen(0, '127.0.0.1');
    await once(blocker, 'listening');
    const busy = String((blocker.address() as AddressInfo).port);
    const elsewhere = join(await temporaryFolder('start'), 'data');
    const [wrong, taken] = [
      npmStart({ PORT: 'abc', DATA_DIR: elsewhere }),
      npmStart({ PORT: busy, DATA_DIR: elsewhere }),
    ];
    await Promise.all([wrong.exited, taken.exited]);
    blocker.close();
    expect(wrong.output()).to.include('PORT must be a number');
    expect(taken.output()).to.include(`Port ${busy} is in use`).and.to.include('PORT=<port>');
    for (const run of [wrong, taken]) {
      expect(run.npm.exitCode).to.equal(1);
      expect(run.output(), 'no stack trace').not.to.match(/\n +at /);
    }
    expect(await serversIn(elsewhere)).to.deep.equal([]);
  });
});
