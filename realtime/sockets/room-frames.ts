import type { Delivery } from '../boards/fan-out.ts';
import type { LaurelServer, LaurelSocket } from './types.ts';

type Connection = LaurelSocket['conn'];
type Packet = Parameters<Connection['transport']['send']>[0][number];

/** An event of the Socket.IO protocol (2), in a message of the Engine.IO protocol (4). */
const EVENT = '2';
const MESSAGE = '4';
/** RFC 6455, 5.2: a whole text, and the codes of lengths that take two and eight bytes. */
const TEXT = 0x81;
const MEDIUM = 126;
const LONG = 127;

/**
 * Sends to large rooms one socket at a time, so that the event loop can do other work in between. Socket.IO's own
 * `emit` sends to all of a room in one go, and spends a third of the time on queues that are nearly always empty.
 */
export class RoomFrames {
  readonly #main: ReturnType<LaurelServer['of']>;
  /** who has joined since the frame was made that is on its way, by room */
  readonly #newcomers = new Map<string, Set<string>>();

  constructor(main: ReturnType<LaurelServer['of']>) {
    this.#main = main;
  }

  /** Has a socket hear what is delivered to a room from here on, but not what is on its way, even if it was there before. */
  join(socket: LaurelSocket, room: string): void {
    this.#newcomers.get(room)?.add(socket.id);
    void socket.join(room);
  }

  /**
   * Sends to all who are in a room right now, but for those who leave before it is their turn. One delivery to a room must
   * have ended before the next is made.
   */
  deliver(room: string, event: string, payload: unknown): Delivery {
    const newcomers = new Set<string>();
    this.#newcomers.set(room, newcomers);
    return this.#give(room, this.#main.adapter.rooms.get(room) ?? [], newcomers, encode(event, payload));
  }

  /** @param ids of the room as it goes on: copies would cost a megabyte a second */
  *#give(room: string, ids: Iterable<string>, newcomers: Set<string>, packet: Packet): Generator<void> {
    const packets = [packet];
    for (const id of ids) {
      const connection = newcomers.has(id) ? undefined : this.#main.sockets.get(id)?.conn;
      if (connection && isIdle(connection)) connection.transport.send(packets);
      else connection?.write(packet.data, packet.options);
      yield;
    }
    if (this.#newcomers.get(room) === newcomers) this.#newcomers.delete(room);
  }
}

/** A WebSocket with nothing left to send: its transport takes the next packet without engine.io's queue. */
function isIdle(connection: Connection): boolean {
  const { transport, readyState } = connection;
  const { writeBuffer } = connection as unknown as { readonly writeBuffer: readonly unknown[] };
  return (
    readyState === 'open' && transport.name === 'websocket' && transport.writable && writeBuffer.length === 0
  );
}

/** An event as engine.io sends it: as text, or, over WebSockets, as a frame that all of them share. */
function encode(event: string, payload: unknown): Packet {
  const data = `${EVENT}${JSON.stringify([event, payload])}`;
  const options = { compress: false, wsPreEncodedFrame: [textFrame(`${MESSAGE}${data}`)] };
  return { type: 'message', data, options };
}

/** In one buffer, which takes one simple system call a socket. */
function textFrame(text: string): Buffer {
  const body = Buffer.from(text);
  const { length } = body;
  if (length < MEDIUM) return Buffer.concat([Buffer.of(TEXT, length), body]);
  const head = Buffer.alloc(length <= 0xffff ? 4 : 10);
  head.writeUInt8(TEXT);
  head.writeUInt8(length <= 0xffff ? MEDIUM : LONG, 1);
  if (length <= 0xffff) head.writeUInt16BE(length, 2);
  else head.writeBigUInt64BE(BigInt(length), 2);
  return Buffer.concat([head, body]);
}
