/** What the visitor chose, or null to follow the system. */
export type Theme = 'light' | 'dark' | null;

const KEY = 'laurel.theme';

/** The choice of an earlier visit. */
export function keptTheme(): Theme {
  try {
    const value = localStorage.getItem(KEY);
    return value === 'light' || value === 'dark' ? value : null;
  } catch {
    // Storage is forbidden: the system decides.
    return null;
  }
}

export function applyTheme(theme: Theme): void {
  if (theme) document.documentElement.dataset['theme'] = theme;
  else delete document.documentElement.dataset['theme'];
}

/** Makes `button` switch between light and dark. Choosing what the system says follows the system again. */
export function bindThemeButton(button: HTMLButtonElement): void {
  const system = matchMedia('(prefers-color-scheme: dark)');
  const current = (): 'light' | 'dark' => keptTheme() ?? (system.matches ? 'dark' : 'light');
  const label = () => {
    const text = current() === 'dark' ? 'Use light colours' : 'Use dark colours';
    button.setAttribute('aria-label', text);
    button.title = text;
    button.dataset['theme'] = current();
  };
  button.addEventListener('click', () => {
    const next = current() === 'dark' ? 'light' : 'dark';
    const theme = next === (system.matches ? 'dark' : 'light') ? null : next;
    try {
      if (theme) localStorage.setItem(KEY, theme);
      else localStorage.removeItem(KEY);
    } catch {
      // Not kept then; this visit has it all the same.
    }
    applyTheme(next);
    label();
  });
  system.addEventListener('change', label);
  label();
}
