import { RedisAdapter } from '@socket.io/redis-adapter';
import Joi from 'joi';
import type { Logger } from '../../common/logger.ts';
import type { Redis } from '../../common/redis.ts';

/** What instances ask each other for by `serverSideEmit`. */
export const CLOSE_STREAM = 'stream:close';

/** What the library's adapter does with what it hears, which its types keep to itself. */
interface HearingAdapter extends Omit<RedisAdapter, never> {
  readonly requestChannel: string;
  onmessage(pattern: Buffer, channel: Buffer, message: Buffer): void;
  onrequest(channel: Buffer, message: Buffer): Promise<void>;
}
const Hearing = RedisAdapter as unknown as new (
  ...args: ConstructorParameters<typeof RedisAdapter>
) => HearingAdapter;

const texts = Joi.array().items(Joi.string().required());
// No instance ever speaks to everybody everywhere.
const rooms = Joi.object({ rooms: texts.required(), except: Joi.array().items(Joi.string()) }).unknown();

/** `io.to(room).emit(event, payload)` */
const broadcast = Joi.array()
  .ordered(
    Joi.string().required(),
    Joi.object({
      type: Joi.valid(2).required(),
      nsp: Joi.valid('/').required(),
      data: Joi.array().ordered(Joi.string().required()).items(Joi.any()).required(),
    }).required(),
    rooms.required(),
  )
  .required();

const request = Joi.alternatives(
  // io.in(room).disconnectSockets(close)
  Joi.object({
    uid: Joi.string(),
    type: Joi.valid(4).required(),
    opts: rooms.required(),
    close: Joi.boolean(),
  }),
  // io.serverSideEmit(CLOSE_STREAM, id)
  Joi.object({
    uid: Joi.string(),
    type: Joi.valid(6).required(),
    data: Joi.array().ordered(Joi.valid(CLOSE_STREAM).required(), Joi.string().required()).required(),
  }),
).required();

function mustBe(form: Joi.Schema, message: unknown): void {
  const { error } = form.validate(message, { convert: false });
  if (error) throw error;
}

/**
 * The library's adapter throws at a message that is not of its form, inside of the Redis connection's event, and that ends the
 * process. This one hears only what instances of Laurel say to each other; it asks nothing that is answered, so it hears no
 * answers. A new use of Socket.IO between instances must add its form here.
 */
class CarefulAdapter extends Hearing {
  readonly #log: Logger;
  #told = false;

  constructor(nsp: unknown, publisher: Redis, subscriber: Redis, log: Logger) {
    super(nsp, publisher, subscriber, { key: publisher.names.sockets });
    this.#log = log;
  }

  override onmessage(pattern: Buffer, channel: Buffer, message: Buffer): void {
    try {
      mustBe(broadcast, this.parser.decode(message));
      super.onmessage(pattern, channel, message);
    } catch (error) {
      this.#ignore(channel, error);
    }
  }

  override async onrequest(channel: Buffer, message: Buffer): Promise<void> {
    // The connection hears Laurel's own channels too.
    if (channel.toString() !== this.requestChannel) return;
    try {
      mustBe(request, JSON.parse(message.toString()));
      await super.onrequest(channel, message);
    } catch (error) {
      this.#ignore(channel, error);
    }
  }

  /** Warns once, because a client of Redis can send any number of such messages. */
  #ignore(channel: Buffer, error: unknown): void {
    const told = { channel: channel.toString(), reason: String(error).slice(0, 200) };
    if (this.#told) this.#log.debug(told, 'a message between instances was ignored');
    else
      this.#log.warn(
        told,
        'a message between instances is not of its form and was ignored; further ones are told at level debug. See who else writes to this Redis.',
      );
    this.#told = true;
  }
}

/** How instances reach each other's sockets; in the form that Socket.IO calls with `new`. */
export function adapterOf(publisher: Redis, subscriber: Redis, log: Logger): (nsp: unknown) => RedisAdapter {
  return function adapter(nsp) {
    return new CarefulAdapter(nsp, publisher, subscriber, log) as unknown as RedisAdapter;
  };
}
