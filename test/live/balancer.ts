import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';

/** A plain TCP load balancer in front of several instances: who is away is passed over. */
export class Balancer {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  #next = 0;

  private constructor(targets: readonly string[]) {
    const ports = targets.map((url) => Number(new URL(url).port));
    this.#server = createServer((client) => this.#serve(client, ports, ports.length, this.#next++));
  }

  static async start(targets: readonly string[]): Promise<Balancer> {
    const balancer = new Balancer(targets);
    balancer.#server.listen(0, '127.0.0.1');
    await once(balancer.#server, 'listening');
    return balancer;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async stop(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
    await once(this.#server, 'close');
  }

  #serve(client: Socket, ports: readonly number[], left: number, turn: number): void {
    if (left === 0) {
      client.destroy();
      return;
    }
    const target = connect(ports[turn % ports.length]!, '127.0.0.1');
    const away = (): void => this.#serve(client, ports, left - 1, turn + 1);
    target.once('error', away);
    target.once('connect', () => {
      target.off('error', away);
      for (const [one, other] of [
        [client, target],
        [target, client],
      ] as const) {
        this.#sockets.add(one);
        one.on('error', () => other.destroy());
        one.on('close', () => {
          this.#sockets.delete(one);
          other.destroy();
        });
      }
      client.pipe(target).pipe(client);
    });
  }
}
