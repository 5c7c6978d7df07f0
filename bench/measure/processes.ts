import { readdirSync, readFileSync } from 'node:fs';

/** What a process, or a tree of them, has used so far. Linux only: it is read from /proc. */
export interface Usage {
  /** user and system time, milliseconds */
  readonly cpuMs: number;
  /** resident memory, MB; of a tree that shares memory (Postgres), its proportional share */
  readonly rssMb: number;
}

/** /proc counts in hundredths of a second on every Linux that Node runs on. */
const TICK_MS = 10;
const KB_IN_MB = 1024;

function statOf(pid: number): { parent: number; ticks: number; reapedTicks: number } | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // The name, in parentheses, may hold spaces.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    const at = (place: number): number => Number(fields[place - 3]);
    return { parent: at(4), ticks: at(14) + at(15), reapedTicks: at(16) + at(17) };
  } catch {
    return undefined;
  }
}

function kilobytes(file: string, name: string): number {
  try {
    return Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(readFileSync(file, 'utf8'))?.[1] ?? 0);
  } catch {
    return 0;
  }
}

export function usageOf(pid: number): Usage {
  const ticks = statOf(pid)?.ticks ?? 0;
  return { cpuMs: ticks * TICK_MS, rssMb: kilobytes(`/proc/${pid}/status`, 'VmRSS') / KB_IN_MB };
}

export const parentOf = (pid: number): number | undefined => statOf(pid)?.parent;

/** Usage of a process and its children, those that have ended included. */
export function usageOfTree(root: number): Usage {
  const children = readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => statOf(pid)?.parent === root);
  const own = statOf(root);
  let ticks = (own?.ticks ?? 0) + (own?.reapedTicks ?? 0);
  for (const pid of children) ticks += statOf(pid)?.ticks ?? 0;
  const pss = [root, ...children].reduce(
    (sum, pid) => sum + kilobytes(`/proc/${pid}/smaps_rollup`, 'Pss'),
    0,
  );
  return { cpuMs: ticks * TICK_MS, rssMb: pss / KB_IN_MB };
}
