import { cp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { signal } from '../../dev/processes.ts';
import { createRedisServer } from '../../dev/redis.ts';
import { temporaryFolder } from './run-folder.ts';

export interface TestRedis {
  /** The same after a restart. */
  readonly url: string;
  readonly pid: number | undefined;
  /** FLUSHALL */
  flush(): Promise<void>;
  /** SIGSTOP: connections stay open and nothing answers. */
  freeze(): void;
  /** SIGCONT */
  thaw(): void;
  kill9(): Promise<void>;
  /** Orderly, data kept; `restart` brings it back. */
  shutdown(): Promise<void>;
  /** On the same port, after whatever happened to it; `empty` as on a new machine, else with its data. */
  restart(options?: { empty?: boolean }): Promise<void>;
  /** Copies its data as they are now. @returns what restarts it from the copy, as from an old backup */
  copy(): Promise<() => Promise<void>>;
  /** Whether a text stands in any key or value. */
  contains(text: string): Promise<boolean>;
  /** The names and addresses of the clients that are connected. */
  clients(): Promise<string[]>;
  /** For good: stops it and removes its data. */
  stop(): Promise<void>;
}

/** A Redis process of its own, append-only file on, so that no test can disturb another. */
export async function createRedis(): Promise<TestRedis> {
  const folder = await temporaryFolder('redis');
  const server = await createRedisServer(folder);
  await server.start();

  const ask = async <T>(use: (client: Redis) => Promise<T>): Promise<T> => {
    const client = new Redis(server.url, { lazyConnect: true, retryStrategy: () => null });
    client.on('error', () => undefined); // the rejected command tells
    try {
      await client.connect();
      return await use(client);
    } finally {
      client.disconnect();
    }
  };

  return {
    get url() {
      return server.url;
    },
    get pid() {
      return server.pid;
    },
    async flush() {
      await ask((client) => client.flushall());
    },
    freeze() {
      if (server.pid !== undefined) signal(server.pid, 'SIGSTOP');
    },
    thaw() {
      if (server.pid !== undefined) signal(server.pid, 'SIGCONT');
    },
    kill9: () => server.kill9(),
    shutdown: () => server.stop(),
    async restart({ empty = false } = {}) {
      await server.stop();
      if (empty) await rm(join(folder, 'redis', 'appendonlydir'), { recursive: true, force: true });
      await server.start();
    },
    async copy() {
      const [data, kept] = [join(folder, 'redis'), join(folder, 'kept')];
      await rm(kept, { recursive: true, force: true });
      await cp(data, kept, { recursive: true });
      return async () => {
        await server.stop();
        await rm(data, { recursive: true, force: true });
        await cp(kept, data, { recursive: true });
        await server.start();
      };
    },
    contains: (text) =>
      ask(async (client) => {
        const reads: Record<string, (key: string) => Promise<unknown>> = {
          string: (key) => client.get(key),
          hash: (key) => client.hgetall(key),
          list: (key) => client.lrange(key, 0, -1),
          set: (key) => client.smembers(key),
          zset: (key) => client.zrange(key, '0', '-1'),
          stream: (key) => client.xrange(key, '-', '+'),
        };
        for (const key of await client.keys('*')) {
          const content = await reads[await client.type(key)]?.(key);
          if (`${key} ${JSON.stringify(content)}`.toLowerCase().includes(text.toLowerCase())) return true;
        }
        return false;
      }),
    clients: () =>
      ask(async (client) => {
        const self = await client.client('ID');
        const list = String(await client.client('LIST')).split('\n');
        return list.flatMap((line) => {
          const field = (name: string) => new RegExp(`(?:^| )${name}=(\\S*)`).exec(line)?.[1] ?? '';
          return line === '' || field('id') === String(self)
            ? []
            : [`${field('name') || 'unnamed'} from ${field('addr')}, last command ${field('cmd')}`];
        });
      }),
    async stop() {
      await server.stop();
      await rm(folder, { recursive: true, force: true });
    },
  };
}
