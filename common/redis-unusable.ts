import { LogThrottle } from './log-throttle.ts';
import type { Logger } from './logger.ts';
import type { Redis } from './redis.ts';

/** What Redis, or a script in it, answers when a key holds another thing than Laurel keeps there. */
const unusable =
  /^WRONGTYPE|value is not an integer|is not a valid float|user_script:\d+: (?:attempt to|bad argument|WRONGTYPE)/;

/** Whether a command failed because of what a key holds. The keys are being dropped: the same command may well succeed soon. */
export const isUnusable = (error: unknown): boolean => error instanceof Error && unusable.test(error.message);

let dropped = 0;
/** How many keys this process has dropped because of what they held. */
export const droppedKeys = (): number => dropped;

/**
 * Drops keys that somebody else has written into. Everything of Laurel's own in Redis may vanish at any time, and comes back by
 * itself; what is of another type, or form, stays and would fail every command for ever. Queues are left to an operator.
 *
 * @returns what hears of every error that Redis answers
 */
export function unusableKeys(log: Logger): (redis: Redis, error: Error) => void {
  const throttle = new LogThrottle();
  return (redis, error) => {
    if (!isUnusable(error)) return;
    const { args = [] } = (error as { command?: { args?: readonly unknown[] } }).command ?? {};
    const own = args.filter((arg): arg is string => typeof arg === 'string' && redis.names.isKey(arg));
    const keys = own.filter((key) => !redis.names.isOfQueue(key));
    const reason = error.message.slice(0, 200);
    if (keys.length === 0) {
      if (own.length === 0) return;
      throttle.log('queue', (times) =>
        log.error(
          { keys: own.slice(0, 5), reason, times },
          'a queue in Redis holds what no queue can: see who else writes to this Redis, and delete the key',
        ),
      );
      return;
    }
    redis
      .unlink(keys)
      .then((count) => {
        dropped += count;
      })
      .catch(() => undefined);
    throttle.log('key', (times) =>
      log.error(
        { keys: keys.slice(0, 5), reason, times },
        'a key in Redis held what Laurel does not keep there, and is dropped: see who else writes to this Redis',
      ),
    );
  };
}
