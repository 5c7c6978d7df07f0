/** A benchmark's outcome: tables for people, data for machines. */
export interface Report {
  readonly name: string;
  /** what a reader types to see it again */
  readonly command: string;
  readonly tables: readonly Table[];
  readonly notes: readonly string[];
  /** Everything measured, as JSON. */
  readonly data: unknown;
  /** Errors, or a proof that did not hold: the figures do not count then. */
  readonly faults: readonly string[];
}

export interface Table {
  readonly title: string;
  readonly columns: readonly string[];
  readonly rows: readonly (readonly (string | number)[])[];
}

/** A number as a reader takes it in: 12,345 or 12.3 or 0.04. */
export function figure(value: number): string {
  if (!Number.isFinite(value)) return '-';
  const digits = Math.abs(value) >= 100 ? 0 : Math.abs(value) >= 10 ? 1 : 2;
  return value.toLocaleString('en-US', { maximumFractionDigits: digits });
}

/** Least to most of what was measured several times; one figure alone when it was measured once. */
export function span(values: readonly number[]): string {
  const [low, high] = [figure(Math.min(...values)), figure(Math.max(...values))];
  return low === high ? low : `${low} – ${high}`;
}

/** A table that reads alike in a terminal and in Markdown. */
function renderTable({ title, columns, rows }: Table): string {
  const cells = [columns, ...rows].map((row) =>
    row.map((cell) => (typeof cell === 'number' ? figure(cell) : cell)),
  );
  const widths = columns.map((_, i) => Math.max(3, ...cells.map((row) => (row[i] ?? '').length)));
  const isText = columns.map((_, i) => i === 0);
  const line = (row: readonly string[]): string =>
    `| ${widths.map((width, i) => (isText[i] ? (row[i] ?? '').padEnd(width) : (row[i] ?? '').padStart(width))).join(' | ')} |`;
  const rule = `| ${widths.map((width, i) => (isText[i] ? '-'.repeat(width) : `${'-'.repeat(width - 1)}:`)).join(' | ')} |`;
  const [head = [], ...body] = cells;
  return [`**${title}**`, '', line(head), rule, ...body.map(line)].join('\n');
}

export function renderReport(report: Report): string {
  const parts = [`\`${report.command}\``, ...report.tables.map(renderTable)];
  if (report.notes.length > 0) parts.push(report.notes.map((note) => `- ${note}`).join('\n'));
  if (report.faults.length > 0) {
    parts.push(`**The run does not count:**\n\n${report.faults.map((fault) => `- ${fault}`).join('\n')}`);
  }
  return parts.join('\n\n');
}
