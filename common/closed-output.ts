/** What a shell reports of a program that SIGPIPE ended. */
const SIGPIPE_STATUS = 128 + 13;

/**
 * Ends a program of the terminal quietly when what reads its output has gone, as in `… | head`. Node does not let SIGPIPE end it, and
 * an error that nobody takes would end it with a stack trace.
 */
export function endWhenOutputCloses(): void {
  for (const stream of [process.stdout, process.stderr])
    stream.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code !== 'EPIPE') throw error;
      process.exit(SIGPIPE_STATUS);
    });
}
