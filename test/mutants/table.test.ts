import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';
import { mutants } from './table/index.ts';

const path = (file: string): string => fileURLToPath(new URL(`../../${file}`, import.meta.url));
const read = (file: string): string => readFileSync(path(file), 'utf8');

describe('the table of faults', () => {
  it('stands on the code as it is: change a fault along with the code, or the name of its test', () => {
    const wrong = mutants.flatMap(({ file, search, breaks, tests, grep = '' }) => {
      const about = `${file}: ${breaks}: `;
      if (!existsSync(path(file))) return [`${about}the file is not there`];
      const missing = tests.filter((test) => !existsSync(path(test)));
      if (missing.length > 0) return [`${about}${missing.join()} is not there`];
      const times = read(file).split(search).length - 1;
      if (times !== 1) return [`${about}the text is there ${times} times, not once: ${search}`];
      return tests.some((test) => read(test).includes(grep)) ? [] : [`${about}no test is called “${grep}”`];
    });
    expect(wrong).to.deep.equal([]);
  });
});
