/**
 * A process that owns a stack, for tests which kill it or look at what it says. Writes one JSON line when the
 * stack is up, or when it is not; ends in an orderly way on SIGTERM.
 */
import { StackError, startStack } from '../../dev/stack.ts';

const [dataDir = ''] = process.argv.slice(2);
const say = (message: object) => process.stdout.write(`${JSON.stringify(message)}\n`);
try {
  const stack = await startStack({ dataDir });
  process.once('SIGTERM', () => void stack.stop());
  say({ databaseUrl: stack.databaseUrl, redisUrl: stack.redisUrl, ...stack.pids });
} catch (error) {
  if (!(error instanceof StackError)) throw error;
  say({ error: error.message });
}
