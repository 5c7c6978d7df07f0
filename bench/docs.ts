import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { root } from './build.ts';
import type { Machine } from './measure/machine.ts';
import { renderReport, type Report } from './report.ts';

const file = join(root, 'docs/benchmarks.md');

/** Puts a run's tables into docs/benchmarks.md, between the marks of that benchmark. The words around them stay. */
export function saveReport(machine: Machine, report: Report): void {
  const measured = `Measured ${machine.date} UTC on ${machine.cores} cores (${machine.cpu}); load in the minute before: ${machine.loadBefore}.`;
  save(report.name, `${measured}\n\n${renderReport(report)}`);
}

export function saveMachine(machine: Machine, stores: Readonly<Record<string, string>>): void {
  const settings = Object.entries(stores).map(([name, value]) => `${name} ${value}`);
  save(
    'machine',
    [
      `- ${machine.cores} cores (${machine.cpu}), ${machine.memoryGb} GB, data on ${machine.disk}.`,
      `- Node ${machine.node}; ${settings.join('; ')}.`,
    ].join('\n'),
  );
}

function save(name: string, content: string): void {
  const [begin, end] = [`<!-- ${name}: begin -->`, `<!-- ${name}: end -->`];
  const text = readFileSync(file, 'utf8');
  const [from, to] = [text.indexOf(begin), text.indexOf(end)];
  if (from < 0 || to < from)
    throw new Error(`docs/benchmarks.md needs the lines ${begin} and ${end}, in this order.`);
  writeFileSync(file, `${text.slice(0, from)}${begin}\n\n${content}\n\n${text.slice(to)}`);
}
