import { readFile } from 'node:fs/promises';
import { expect } from 'chai';
import { configurationFile, configurationPage } from '../../dev/configuration-page.ts';

describe('docs/configuration.md', () => {
  it('says what common/config.ts says', async () => {
    expect(
      await readFile(configurationFile, 'utf8'),
      'Settings have changed. Run: npm run docs:config',
    ).to.equal(await configurationPage());
  });
});
