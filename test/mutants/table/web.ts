import type { Mutant } from '../mutant.ts';

/** Faults in the scoreboard page. */
export const web: readonly Mutant[] = [
  {
    file: 'web/board-view.ts',
    search: 'row.rank.textContent = number(entry.rank);',
    replace: '',
    breaks: 'the board shows no ranks',
    tests: ['test/browser/page.test.ts'],
    grep: 'shows the board',
  },
  {
    file: 'web/board-view.ts',
    search: "if (isMe) row.element.setAttribute('aria-current', 'true');",
    replace: "if (false as boolean) row.element.setAttribute('aria-current', 'true');",
    breaks: 'nobody sees which entry is the own',
    tests: ['test/browser/page.test.ts'],
    grep: 'lets a player sign in',
  },
  {
    file: 'web/account.ts',
    search: "byId('account-name').textContent = user?.username ?? '';",
    replace: '',
    breaks: 'the page does not say who is signed in',
    tests: ['test/browser/page.test.ts'],
    grep: 'lets a player sign in',
  },
  {
    file: 'web/account.ts',
    search: "this.#error.textContent = text ?? '';",
    replace: '',
    breaks: 'a failed sign-in says nothing',
    tests: ['test/browser/page.test.ts'],
    grep: 'tells by words',
  },
  {
    file: 'web/account.ts',
    search: "this.#input(field).setAttribute('aria-invalid', 'true');",
    replace: '',
    breaks: 'fields that are wrong are not marked',
    tests: ['test/browser/page-states.test.ts'],
    grep: 'marks the fields',
  },
];
