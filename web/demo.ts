/** The player whom the demo offers to newcomers, or null where the service runs no demo: everywhere but in `npm start`. */
export function demoPlayer(): { username: string; password: string } | null {
  const meta = document.querySelector<HTMLMetaElement>('meta[name="laurel-demo"]');
  const password = meta?.dataset['password'];
  return meta?.content && password ? { username: meta.content, password } : null;
}
