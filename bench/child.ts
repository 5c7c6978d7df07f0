import { fork } from 'node:child_process';
import { once } from 'node:events';

/** A part of a benchmark in a process of its own, so that its work is measured apart from the servers'. */
export interface Child {
  readonly pid: number;
  /** Sends it a message. */
  send(message: unknown): void;
  /** The next message that it sends. @throws when it ends instead */
  receive<T>(): Promise<T>;
  stop(): Promise<void>;
  /** Lets go of it, and waits until it has cleaned up and ended by itself. */
  leave(): Promise<void>;
}

/** @param file a module that talks by messages @param args its command line */
export function forkChild(file: URL, args: readonly string[] = []): Child {
  const child = fork(file, args, {
    execArgv: ['--import', 'tsx'],
    // Maps, typed arrays and a hundred thousand ids go through as they are.
    serialization: 'advanced',
  });
  const inbox: unknown[] = [];
  let wake: (() => void) | undefined;
  child.on('message', (message) => {
    inbox.push(message);
    wake?.();
  });
  child.once('exit', () => wake?.());
  const hasEnded = (): boolean => child.exitCode !== null || child.signalCode !== null;
  return {
    pid: child.pid ?? 0,
    send: (message) => child.send(message as object),
    async receive<T>() {
      while (inbox.length === 0) {
        if (hasEnded())
          throw new Error(`${file.pathname} ended: ${child.signalCode ?? `status ${child.exitCode}`}.`);
        await new Promise<void>((resolve) => (wake = resolve));
      }
      return inbox.shift() as T;
    },
    async stop() {
      if (hasEnded()) return;
      const ended = once(child, 'exit');
      child.kill('SIGKILL');
      await ended;
    },
    async leave() {
      if (hasEnded()) return;
      const ended = once(child, 'exit');
      if (child.connected) child.disconnect();
      await ended;
    },
  };
}
