/** `npm run docs:config`: writes docs/configuration.md anew. */
import { writeFile } from 'node:fs/promises';
import { configurationFile, configurationPage } from './configuration-page.ts';

await writeFile(configurationFile, await configurationPage());
console.log('docs/configuration.md is current.');
