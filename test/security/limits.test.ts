import { expect } from 'chai';
import fc from 'fast-check';
import { Redis } from 'ioredis';
import { after, before } from 'mocha';
import { AdmissionControl, type Ask } from '../../api/admission/admission.ts';
import { createLogger } from '../../common/logger.ts';
import { closeRedis, createRedis, untilReady, type Redis as Commands } from '../../common/redis.ts';
import { Problem } from '../../api/http/problem.ts';
import { call, Player, type Answer } from '../support/player.ts';
import { useStores } from '../support/stores.ts';
import { useSystem } from '../support/system.ts';
import { raw } from './forge.ts';

const settings = {
  RATE_LIMIT_COMPLETE_PER_MINUTE: 0,
  RATE_LIMIT_START_PER_MINUTE: 0,
  RATE_LIMIT_READ_PER_MINUTE: 0,
  RATE_LIMIT_CANCEL_PER_MINUTE: 0,
  RATE_LIMIT_IP_PER_MINUTE: 0,
  RATE_LIMIT_GLOBAL_PER_SECOND: 0,
  RATE_LIMIT_BLOCK_AFTER: 0,
  MAX_OPEN_ACTIONS: 10_000,
};
const MINUTE = 60_000;
const count = (answers: readonly Answer[], status: number): number =>
  answers.filter((answer) => answer.status === status).length;

describe('the arithmetic of limits, on a clock of its own', () => {
  const stores = useStores();
  let redis: Commands;
  let user = 0;

  before(async () => {
    redis = createRedis(stores.redis.url, 'commands', createLogger('test', 'fatal'));
    await untilReady(redis, 5000);
  });
  after(() => closeRedis(redis));

  const control = (change: Partial<typeof settings>): AdmissionControl =>
    new AdmissionControl(redis, { ...settings, ...change });
  const outcome = (admission: AdmissionControl, ask: Ask, at: number): Promise<Problem | undefined> =>
    admission.admit(ask, at).then(
      () => undefined,
      (problem: unknown) => {
        if (problem instanceof Problem) return problem;
        throw problem;
      },
    );
  const start = (ip = '203.0.113.1'): Ask => ({ kind: 'start', ip, userId: `user${(user += 1)}`, holdMs: 1 });

  it('lets in never more than N in any 60 s, and every request that fits', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 8 }),
        fc.array(
          fc.oneof(
            fc.integer({ min: 0, max: 3 }),
            fc.integer({ min: 0, max: 20_000 }),
            fc.constantFrom(MINUTE - 1, MINUTE, MINUTE + 1),
          ),
          { minLength: 1, maxLength: 40 },
        ),
        async (limit, pauses) => {
          const admission = control({ RATE_LIMIT_START_PER_MINUTE: limit });
          const ask = start();
          const admitted: number[] = [];
          let now = 1_000_000_000_000;
          for (const pause of pauses) {
            now += pause;
            // What is refused uses nothing up: only admissions count.
            const fits = admitted.filter((at) => at > now - MINUTE).length < limit;
            const refused = await outcome(admission, ask, now);
            expect(refused === undefined).to.equal(fits);
            if (!refused) admitted.push(now);
            else {
              const due = admitted.at(-limit)! + MINUTE - now;
              expect(refused.headers['Retry-After']).to.equal(String(Math.ceil(due / 1000)));
            }
          }
        },
      ),
      { numRuns: 60 },
    );
  });

  it('uses up nothing of the user’s limit when the address is refused, and the other way round', async () => {
    const admission = control({ RATE_LIMIT_START_PER_MINUTE: 2, RATE_LIMIT_IP_PER_MINUTE: 3 });
    const [a, b] = [start('198.51.100.1'), start('198.51.100.1')];
    const at = 1_000_000_000_000;
    for (const ask of [a, a, b]) expect(await outcome(admission, ask, at)).to.equal(undefined);
    for (let i = 0; i < 5; i += 1) expect((await outcome(admission, b, at))?.code).to.equal('RATE_LIMITED');
    for (let i = 0; i < 5; i += 1) expect((await outcome(admission, a, at))?.code).to.equal('RATE_LIMITED');
    // From another address b has one left, and a none.
    expect(await outcome(admission, { ...b, ip: '198.51.100.2' }, at)).to.equal(undefined);
    expect((await outcome(admission, { ...b, ip: '198.51.100.2' }, at))?.code).to.equal('RATE_LIMITED');
    expect(await outcome(admission, start('198.51.100.2'), at)).to.equal(undefined);
  });

  it('blocks a client that goes on, for a time that doubles up to an hour, and no other', async () => {
    const admission = control({ RATE_LIMIT_START_PER_MINUTE: 1, RATE_LIMIT_BLOCK_AFTER: 3 });
    const ask = start();
    let now = 1_000_000_000_000;
    for (const minutes of [1, 2, 4, 8, 16, 32, 60, 60]) {
      expect(await outcome(admission, ask, now)).to.equal(undefined);
      await outcome(admission, ask, now);
      await outcome(admission, ask, now);
      const blocked = await outcome(admission, ask, now);
      expect(blocked?.headers['Retry-After']).to.equal(String(minutes * 60));
      expect(await outcome(admission, start(), now)).to.equal(undefined);
      now += minutes * MINUTE - 1;
      expect((await outcome(admission, ask, now))?.options.security?.reason).to.include('blocked');
      now += 1;
    }
  });

  it('blocks a player’s starts and completions together, and never a name for its guesser’s sake', async () => {
    const admission = control({ RATE_LIMIT_COMPLETE_PER_MINUTE: 1, RATE_LIMIT_BLOCK_AFTER: 2 });
    const at = 1_000_000_000_000;
    const ask = { ...start(), kind: 'complete' as const, holdMs: 1000 };
    for (let i = 0; i < 3; i += 1) await outcome(admission, { ...ask, actionId: `a${i}` }, at);
    expect((await outcome(admission, { ...ask, kind: 'start' }, at))?.code).to.equal('RATE_LIMITED');
    expect(await outcome(admission, { ...ask, kind: 'read' }, at)).to.equal(undefined);

    const guess: Ask = { kind: 'login', ip: '203.0.113.9', loginName: 'victim' };
    for (let i = 0; i < 50; i += 1) await outcome(admission, guess, at);
    expect((await outcome(admission, guess, at))?.code).to.equal('RATE_LIMITED');
    expect(await outcome(admission, guess, at + MINUTE)).to.equal(undefined);
  });

  it('frees the places of expired actions', async () => {
    const admission = control({ MAX_OPEN_ACTIONS: 2 });
    const ask = { ...start(), holdMs: 1000 };
    const at = 1_000_000_000_000;
    for (const actionId of ['a', 'b'])
      expect(await outcome(admission, { ...ask, actionId }, at)).to.equal(undefined);
    const third = { ...ask, actionId: 'c' };
    expect((await outcome(admission, third, at + 999))?.code).to.equal('TOO_MANY_OPEN_ACTIONS');
    expect(await outcome(admission, third, at + 1000)).to.equal(undefined);
  });

  it('counts an IPv6 client by its /64', async () => {
    const admission = control({ RATE_LIMIT_IP_PER_MINUTE: 1 });
    const at = 1_000_000_000_000;
    const from = (ip: string): Promise<Problem | undefined> => outcome(admission, { kind: 'write', ip }, at);
    expect(await from('2001:db8::1')).to.equal(undefined);
    expect((await from('2001:db8:0:0:ffff::2'))?.code).to.equal('RATE_LIMITED');
    expect(await from('2001:db8:0:1::1')).to.equal(undefined);
  });

  it('counts an IPv6 site by its /48 at 16 times that', async () => {
    const admission = control({ RATE_LIMIT_IP_PER_MINUTE: 2 });
    const at = 1_000_000_000_000;
    const from = (i: number): Promise<Problem | undefined> =>
      outcome(admission, { kind: 'write', ip: `2001:db8:77:${i.toString(16)}::1` }, at);
    for (let i = 0; i < 32; i += 1) expect(await from(i)).to.equal(undefined);
    expect((await from(32))?.code).to.equal('RATE_LIMITED');
    const elsewhere = await outcome(admission, { kind: 'write', ip: '2001:db8:78::1' }, at);
    expect(elsewhere).to.equal(undefined);
  });

  it('keeps a ceiling over everybody: a bucket of two seconds that fills up again', async () => {
    const admission = control({ RATE_LIMIT_GLOBAL_PER_SECOND: 5 });
    const ask: Ask = { kind: 'write', ip: '203.0.113.1' };
    let now = 1_000_000_000_000;
    const burst = async (): Promise<number> => {
      for (let admitted = 0; ; admitted += 1) {
        const refused = await outcome(admission, ask, now);
        if (!refused) continue;
        expect(refused.code).to.equal('UNAVAILABLE');
        expect(refused.headers['Retry-After']).to.equal('1');
        return admitted;
      }
    };
    expect(await burst()).to.equal(10);
    now += 1000;
    expect(await burst()).to.equal(5);
    now -= 5000; // a clock that was set back takes nothing away
    expect(await burst()).to.equal(0);
    now += 60_000;
    expect(await burst()).to.equal(10);
  });
});

describe('limits of two API processes, from outside', function () {
  this.timeout(60_000);
  const stores = useStores();
  const system = useSystem(stores, {
    api: 2,
    processes: true,
    env: {
      LOG_LEVEL: 'fatal',
      RATE_LIMIT_COMPLETE_PER_MINUTE: '10',
      RATE_LIMIT_START_PER_MINUTE: '25',
      RATE_LIMIT_READ_PER_MINUTE: '15',
      RATE_LIMIT_IP_PER_MINUTE: '300',
      RATE_LIMIT_BLOCK_AFTER: '0',
      MAX_OPEN_ACTIONS: '20',
      TRUSTED_PROXIES: '1',
    },
  });
  const api = (i: number): string => system.api[i % 2]!.url;
  let redis: Redis;
  before(() => {
    redis = new Redis(stores.redis.url);
  });
  after(() => redis.disconnect());

  it('let in 20 open actions and 10 completions of a parallel burst, and say what is left', async () => {
    const player = await Player.join(api(0));
    const starts = await Promise.all(Array.from({ length: 40 }, (_, i) => player.start(api(i))));
    expect(count(starts, 201)).to.equal(20);
    for (const { status, body, headers } of starts.filter(({ status }) => status !== 201)) {
      expect([status, body.code]).to.deep.equal([429, 'TOO_MANY_OPEN_ACTIONS']);
      expect(Number(headers['retry-after'])).to.be.within(1, 300);
    }
    const actions = starts.filter(({ status }) => status === 201).map(({ body }) => body);
    const answers = await Promise.all(actions.map((action, i) => player.complete(api(i), action)));
    expect(count(answers, 200)).to.equal(10);
    for (const { body, headers } of answers.filter(({ status }) => status !== 200)) {
      expect(body.code).to.equal('RATE_LIMITED');
      expect(Number(headers['retry-after'])).to.be.within(1, 60);
      expect(headers['ratelimit']).to.match(/^"complete";r=0;t=\d+$/);
      expect(headers['ratelimit-policy']).to.equal('"complete";q=10;w=60');
    }
    // A replay is answered as ever, though nothing is left.
    const done = answers.findIndex(({ status }) => status === 200);
    const replay = await player.complete(api(1), actions[done]);
    expect(replay.body.code).to.equal('ACTION_ALREADY_COMPLETED');
    // Another player is not concerned.
    const other = await Player.join(api(1));
    expect((await other.play(api(0))).status).to.equal(200);
  });

  it('count no replay: it uses nothing up', async () => {
    const player = await Player.join(api(0));
    const first = (await player.start(api(0))).body;
    expect((await player.complete(api(0), first)).status).to.equal(200);
    for (let i = 0; i < 12; i += 1)
      expect((await player.complete(api(i), first)).body.code).to.equal('ACTION_ALREADY_COMPLETED');
    const next = await player.complete(api(0), (await player.start(api(0))).body);
    expect(next.status).to.equal(200);
    expect(next.headers['ratelimit']).to.match(/^"complete";r=8;/);
  });

  it('take no other spelling of a path for another limit', async () => {
    const { token } = await Player.join(api(0));
    const headers = { authorization: `Bearer ${token}` };
    const spellings = [
      '/api/v1/users/me',
      '/API/V1/Users/ME',
      '/api/v1/users/me/',
      '/api/v1/users/%6de',
      '/api/v1/users/me?x=1',
      '/api/v1/users/me#x',
      '/api/v1/leaderboards/global/users/me',
    ];
    const answers = await Promise.all(
      Array.from({ length: 60 }, (_, i) => raw(api(i), 'GET', spellings[i % spellings.length]!, headers)),
    );
    expect(count(answers, 429)).to.be.at.least(60 - 15);
    expect(answers.filter(({ status }) => status === 200).length).to.be.at.most(15);
    expect(
      count(await Promise.all(spellings.map((path) => raw(api(0), 'GET', path, headers))), 200),
    ).to.equal(0);
  });

  it('believe X-Forwarded-For as far as the one trusted proxy wrote it', async () => {
    const guess = (forwarded: string, i: number): Promise<Answer> =>
      call(api(i), 'POST', '/auth/login', {
        body: { username: `nobody${i}`, password: 'wrong password' },
        headers: { 'x-forwarded-for': forwarded },
      });
    // An attacker who makes up a different address each time; the proxy appends the true one.
    const answers = await Promise.all(
      Array.from({ length: 40 }, (_, i) => guess(`203.0.113.${i}, 198.51.100.7`, i)),
    );
    expect(count(answers, 401)).to.equal(30);
    expect(count(answers, 429)).to.equal(10);
    expect((await guess('198.51.100.8', 1)).status).to.equal(401);
  });

  it('let a name be tried from 10 unknown addresses a minute, however it is written', async () => {
    const player = await Player.join(api(0), 'Ernestine');
    const spellings = ['Ernestine', 'ERNESTINE', 'ernestine', 'Ｅrnestine', 'eRNESTINE'];
    const guesses = await Promise.all(
      Array.from({ length: 30 }, (_, i) =>
        call(api(i), 'POST', '/auth/login', {
          body: { username: spellings[i % spellings.length], password: `guess ${i}` },
          headers: { 'x-forwarded-for': `192.0.2.${i}` },
        }),
      ),
    );
    expect(count(guesses, 401)).to.equal(10);
    expect(count(guesses, 429)).to.equal(20);
    // What the limits keep tells no names, and no addresses of people.
    expect((await redis.keys('*rnestine*')).length).to.equal(0);
    expect((await call(api(0), 'GET', `/users/${player.userId}`)).status).to.equal(200);
  });
});
