import { constants } from 'node:fs';
import { access } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import bundled from '@sparticuz/chromium';
import { chromium, type Page } from 'playwright-core';

/** A page in a browser of its own, and what it complained of so far. */
export interface OpenPage {
  readonly page: Page;
  /** errors on the console, where Chromium also tells of breaches of the content security policy, and uncaught ones */
  readonly complaints: string[];
  close(): Promise<void>;
}

export interface OpenPageOptions {
  /** CSS pixels */
  readonly viewport?: { width: number; height: number };
  readonly colorScheme?: 'light' | 'dark';
}

/** Opens an empty page in a real Chromium: the one on PATH, else the one that came with the packages. */
export async function openPage({
  viewport = { width: 1280, height: 800 },
  colorScheme = 'light',
}: OpenPageOptions = {}): Promise<OpenPage> {
  const browser = await chromium.launch({
    executablePath: (await onPath('chromium')) ?? (await bundled.executablePath()),
    // Containers have neither a GPU nor room in /dev/shm, and as root there is no sandbox.
    args: ['--disable-gpu', '--disable-dev-shm-usage', '--no-zygote'],
    chromiumSandbox: false,
  });
  const context = await browser.newContext({ viewport, colorScheme });
  const page = await context.newPage();
  const complaints: string[] = [];
  page.on('console', (message) => {
    if (message.type() === 'error') complaints.push(`${message.text()} (${message.location().url})`);
  });
  page.on('pageerror', (error) => complaints.push(String(error)));
  return { page, complaints, close: () => browser.close() };
}

async function onPath(name: string): Promise<string | undefined> {
  for (const folder of (process.env['PATH'] ?? '').split(delimiter)) {
    const file = join(folder, name);
    const runs = await access(file, constants.X_OK).then(
      () => true,
      () => false,
    );
    if (runs) return file;
  }
  return undefined;
}
