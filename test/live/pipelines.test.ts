import { once } from 'node:events';
import { connect } from 'node:net';
import { expect } from 'chai';
import { eventually } from '../support/eventually.ts';
import { useStores } from '../support/stores.ts';
import { useSystem } from '../support/system.ts';
import { Stream } from './viewers.ts';

describe('requests for streams that are sent behind each other on one connection', function () {
  this.timeout(30_000);
  const stores = useStores();
  const system = useSystem(stores, {
    realtime: 1,
    env: {
      REALTIME_MAX_CONNECTIONS: '10',
      REALTIME_MAX_CONNECTIONS_PER_IP: '5',
      RATE_LIMIT_IP_PER_MINUTE: '300',
      TRUSTED_PROXIES: '1',
    },
  });
  const path = '/leaderboards/global/stream';
  const statusFor = async (ip: string): Promise<number> => {
    const stream = await Stream.open(system.realtime[0]!.url, path, { 'x-forwarded-for': ip });
    await stream.close();
    return stream.status;
  };
  const gauge = async (): Promise<string> =>
    /^laurel_stream_connections.* (\d+)$/m.exec(
      await (await fetch(`${system.realtime[0]!.url}/metrics`)).text(),
    )?.[1] ?? '';

  it('take the place of one, for as long as that connection lasts', async () => {
    const { hostname, port } = new URL(system.realtime[0]!.url);
    const client = connect(Number(port), hostname);
    client.on('error', () => undefined);
    await once(client, 'connect');
    client.write(`GET /api/v1${path} HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 203.0.113.9\r\n\r\n`.repeat(20));
    await eventually(async () => expect(await gauge()).to.equal('1'));
    expect(await statusFor('203.0.113.9')).to.equal(200);
    client.destroy();
    for (const ip of ['203.0.113.9', '203.0.113.10'])
      await eventually(async () => expect(await statusFor(ip)).to.equal(200));
    await eventually(async () => expect(await gauge()).to.equal('0'));
  });
});
