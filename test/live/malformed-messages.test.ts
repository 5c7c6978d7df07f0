import { expect } from 'chai';
import { Redis } from 'ioredis';
import { after, before } from 'mocha';
import { RedisNames } from '../../common/redis-names.ts';
import { eventually } from '../support/eventually.ts';
import { Player } from '../support/player.ts';
import { useStores } from '../support/stores.ts';
import { useSystem } from '../support/system.ts';
import { Listener } from './viewers.ts';

const names = new RedisNames('laurel');
const broadcasts = `${names.sockets}#/#`;
const requests = `${names.sockets}-request#/#`;
const answers = `${names.sockets}-response#/#`;

const junk = [
  '',
  ' ',
  'x',
  '{',
  '{}',
  'null',
  '[]',
  '[null]',
  '[[[[]]]]',
  '5',
  '"text"',
  '{"a":'.repeat(50_000),
  `${'['.repeat(50_000)}${']'.repeat(50_000)}`,
];

/** In MessagePack, as instances write what they say to all. */
const packed = [
  'c0', // null
  '90', // []
  '93a178c0c0', // ['x', null, null]
  '93a1788080', // ['x', {}, {}]
  '92a17881a36e7370a12f', // ['x', { nsp: '/' }]
  '93a17881a36e7370a12fc0', // ['x', { nsp: '/' }, null]
  '93a17881a36e7370a12f81a5726f6f6d7305', // ['x', { nsp: '/' }, { rooms: 5 }]
  '93a17881a36e7370a12f81a5726f6f6d7390', // ['x', { nsp: '/' }, { rooms: [] }]
  '93a17882a36e7370a12fa47479706563' + '81a5726f6f6d7390', // … of type 99, to everybody
  'ddffffffff', // a list that is longer than the message
  'c1', // no form at all
  '81a474797065c0', // { type: null }
  ...Array.from({ length: 10 }, (_, type) => `81a4747970650${type}`), // { type }
].map((hex) => Buffer.from(hex, 'hex'));

const requestForms = Array.from({ length: 10 }, (_, type) =>
  [
    {},
    { opts: null },
    { opts: 5 },
    { opts: { rooms: 5 } },
    { opts: { rooms: [], except: 5 } },
    { opts: { rooms: [] }, rooms: 5, close: true },
    { opts: { rooms: [] }, rooms: [{}, null] },
    { opts: { rooms: [] }, packet: 5 },
    { opts: { rooms: [] }, packet: { type: 99 }, requestId: 'x' },
    { rooms: 5, requestId: {} },
    { sid: {}, room: 5 },
    { data: 5 },
    { data: [] },
    { data: ['error', null] },
    { data: ['connection', {}] },
    { data: ['connection', { data: {}, client: {} }], requestId: 'x' },
    { data: ['stream:close', {}] },
    { data: 5, requestId: 'x' },
    { requestId: '__proto__' },
  ].map((form) => JSON.stringify({ type, uid: 'x', ...form })),
).flat();

const board = { leaderboard: 'global', period: 'all_time', startsAt: 0, endsAt: null, version: 1, at: 1 };
const completion = { actionId: 'x', userId: 'x', leaderboard: 'global' };
const ownForms = [
  ...[
    {},
    { startsAt: 1e300, at: 1e300 },
    { entries: 5 },
    { entries: [5] },
    { entries: [[]] },
    { entries: [[5, 'x', null]] },
    { changes: [[]] },
    { changes: [[{}, 'x']] },
    { reset: 5 },
    { period: 'constructor' },
    { leaderboard: '__proto__' },
    { version: 1e300, entries: [[null]], changes: [[null]] },
  ].map((form) => ({ ...board, ...form })),
  ...[
    {},
    { score: 5 },
    { score: {}, rank: null },
    { milestones: 5 },
    { milestones: [null], achievements: [5] },
  ].map((form) => [{ ...completion, ...form }]),
  [{ ...completion, outcome: 'completed' }],
  [{ ...completion, outcome: 'completed', result: {} }],
  [{ ...completion, outcome: 'constructor' }],
  [{ kind: 'result', userId: 'x', actionId: 'x' }],
  [{ kind: 'action', userId: 'x', actionId: '', type: '', leaderboard: '', status: '', at: 1e300 }],
  [{ kind: 'action', userId: 'x', actionId: 'x', type: 'x', leaderboard: '__proto__', status: 'x', at: 1 }],
  { kind: 'user', userId: {} },
  { kind: 'user', userId: 'x' },
  { kind: 'constructor' },
  { kind: 'catalog', more: 5 },
].map((form) => JSON.stringify(form));

describe('messages that are not of their form', function () {
  this.timeout(60_000);
  const stores = useStores();
  const system = useSystem(stores, { processes: true, realtime: 2 });
  let redis: Redis;
  let output = '';

  before(() => {
    redis = new Redis(stores.redis.url);
    for (const { process } of [...system.api, ...system.workers, ...system.realtime])
      for (const stream of [process?.stdout, process?.stderr])
        stream?.on('data', (data: Buffer) => (output += data.toString()));
  });
  after(() => redis.disconnect());

  /** Says all of them while somebody listens, who must hear of what happens afterwards on the connection of before. */
  async function expectIgnored(channel: string, messages: readonly (string | Buffer)[]): Promise<void> {
    const player = await Player.join(system.api[0]!.url);
    const listeners = system.realtime.map(({ url }) => new Listener(url, player.token));
    try {
      for (const listener of listeners) {
        expect((await listener.handshake).code).to.equal('connected');
        expect(await listener.ask('join:leaderboard', { leaderboard: 'global' })).to.include({ ok: true });
      }
      for (const message of messages)
        expect(await redis.publish(channel, message), 'nobody listens there').to.be.above(0);
      const { body } = await player.start(system.api[0]!.url);
      expect((await player.complete(system.api[0]!.url, body)).status).to.equal(200);
      for (const listener of listeners)
        await eventually(
          () =>
            expect(
              listener.of('score:update').map(({ userId }) => userId as string),
              output.slice(-2000),
            ).to.include(player.userId),
          { timeoutMs: 10_000 },
        );
      for (const listener of listeners) {
        await eventually(
          () => expect(JSON.stringify(listener.of('leaderboard:update').at(-1))).to.include(player.userId),
          { timeoutMs: 10_000 },
        );
        expect(listener.socket.connected).to.equal(true);
      }
      for (const tier of [...system.api, ...system.workers, ...system.realtime]) {
        expect(tier.process?.exitCode ?? tier.process?.signalCode, output.slice(-2000)).to.equal(null);
        expect(await (await fetch(`${tier.url}/metrics`)).text()).to.match(
          /laurel_uncaught_errors_total\S* 0\n/,
        );
      }
    } finally {
      for (const { socket } of listeners) socket.disconnect();
    }
  }

  for (const [what, channel, messages] of [
    ['broadcasts between instances', broadcasts, [...junk, ...packed, ...requestForms]],
    ['requests between instances', requests, [...junk, ...packed, ...requestForms]],
    ['answers between instances', answers, [...junk, ...packed, ...requestForms]],
    ['events of boards', names.channels.boards, [...junk, ...ownForms]],
    ['events of completions', names.channels.completions, [...junk, ...ownForms]],
    ['events of changes', names.channels.changes, [...junk, ...ownForms]],
    ['events of actions', names.channels.actions, [...junk, ...ownForms]],
  ] as const) {
    it(`${what} end no process, close no connection and keep nobody from hearing the next`, () =>
      expectIgnored(channel, messages));
  }

  it('replies to instances of the API do neither', async () => {
    const channels = (await redis.pubsub('CHANNELS', names.channels.replies('*'))) as string[];
    expect(channels.length).to.be.above(0);
    for (const channel of channels) await expectIgnored(channel, [...junk, ...ownForms]);
  });

  it('of the very next version, with times that no date can have, do neither', async () => {
    const player = await Player.join(system.api[0]!.url);
    const { body } = await player.start(system.api[0]!.url);
    expect((await player.complete(system.api[0]!.url, body)).status).to.equal(200);
    const [version] = await redis.hmget('laurel:{global:all:0}:members', '~v');
    const entries = [[player.userId, 1, 1]];
    const forged = [1, 2, 3].map((next) => ({
      ...board,
      period: 'all',
      version: Number(version) + next,
      at: 1e300,
      total: 1,
      entries,
      changes: [],
    }));
    await expectIgnored(
      names.channels.boards,
      [...forged, ...forged].map((form) => JSON.stringify(form)),
    );
  });

  it('are told of once, not each', async () => {
    await eventually(() => expect(output).to.include('is not of its form and was ignored'));
    expect(output.split('is not of its form and was ignored').length - 1).to.equal(system.realtime.length);
    const processes = system.api.length + system.workers.length + system.realtime.length;
    // Of each channel and process, the first of a minute: the tests take no more than two.
    for (const line of ['an event was not of its form', 'handling an event failed'])
      expect(output.split(line).length - 1, line).to.be.below(2 * 5 * processes);
  });
});
