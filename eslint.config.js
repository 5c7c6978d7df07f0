import js from '@eslint/js';
import globals from 'globals';
import importX from 'eslint-plugin-import-x';
import tseslint from 'typescript-eslint';

/**
 * Who may import whom. Each folder lists the top-level folders that it must not reach, and why.
 * The tiers meet in Redis and Postgres only, so that each can run, scale and fail on its own.
 */
const everyFolder = [
  'api',
  'workers',
  'realtime',
  'common',
  'migrations',
  'cli',
  'client',
  'web',
  'dev',
  'bench',
  'test',
];
const mayImport = {
  api: ['common'],
  workers: ['common'],
  realtime: ['common'],
  cli: ['common', 'migrations'],
  common: [],
  migrations: [],
  client: [],
  web: ['client'],
  dev: ['common', 'client'],
};

function importRule(folder, allowed, files = [`${folder}/**/*.ts`], ignores = ['**/*.test.ts']) {
  const forbidden = everyFolder.filter((other) => other !== folder && !allowed.includes(other));
  return {
    files,
    ignores,
    rules: {
      'no-restricted-imports': [
        'error',
        {
          patterns: [
            {
              regex: `^(\\.\\./)+(${forbidden.join('|')})(/|$)`,
              message:
                allowed.length > 0
                  ? `${folder}/ may import ${allowed.join(', ')}/ only: tiers meet in Redis and Postgres, so that each can run and fail on its own. Move what is shared into common/.`
                  : `${folder}/ stands at the bottom and imports nothing of its neighbours: whatever needs it must be able to take it alone.`,
            },
          ],
        },
      ],
    },
  };
}

export default tseslint.config(
  { ignores: ['coverage/', 'dist/', 'node_modules/', '.data/', 'bench/results/'] },
  js.configs.recommended,
  ...tseslint.configs.strict,
  {
    plugins: { 'import-x': importX },
    settings: {
      'import-x/resolver': { node: { extensions: ['.ts', '.js'] } },
      'import-x/parsers': { '@typescript-eslint/parser': ['.ts'] },
    },
    rules: { 'import-x/no-cycle': ['error', { ignoreExternal: true }] },
  },
  {
    files: ['**/*.ts'],
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    rules: {
      '@typescript-eslint/no-floating-promises': 'error',
      '@typescript-eslint/no-misused-promises': ['error', { checksVoidReturn: { arguments: false } }],
      '@typescript-eslint/await-thenable': 'error',
      '@typescript-eslint/consistent-type-imports': 'error',
      '@typescript-eslint/no-import-type-side-effects': 'error',
      '@typescript-eslint/no-dynamic-delete': 'off',
      '@typescript-eslint/no-invalid-void-type': 'off',
      'no-console': 'error',
      eqeqeq: 'error',
    },
  },
  {
    files: ['**/*.ts'],
    ignores: ['common/config.ts', 'dev/**', 'test/**', 'bench/**', 'client/**', 'web/**', '**/*.test.ts'],
    rules: {
      'no-restricted-properties': [
        'error',
        {
          object: 'process',
          property: 'env',
          message:
            'Read settings from the Config that loadConfig(env) returned; declare new ones in common/config.ts. Entry points pass process.env once.',
        },
      ],
    },
  },
  { files: ['**/index.ts', 'knexfile.ts'], rules: { 'no-restricted-properties': 'off' } },
  {
    files: ['**/*.test.ts', 'test/**/*.ts'],
    rules: {
      '@typescript-eslint/no-unused-expressions': 'off',
      '@typescript-eslint/no-non-null-assertion': 'off',
      // Tests look into answers of every kind, and fail when a member is not there.
      '@typescript-eslint/no-explicit-any': 'off',
    },
  },
  {
    files: ['dev/**/*.ts', 'cli/**/*.ts', 'bench/**/*.ts', 'test/mutants/**/*.ts'],
    rules: { 'no-console': 'off' },
  },
  { files: ['web/**/*.ts', 'client/**/*.ts'], languageOptions: { globals: globals.browser } },
  { files: ['**/*.js', '**/*.mjs'], languageOptions: { globals: globals.node } },
  ...Object.entries(mayImport).map(([folder, allowed]) => importRule(folder, allowed)),
  // The one place where all tiers meet in one process: `npm start`.
  importRule('dev', ['common', 'client', 'api', 'workers', 'realtime', 'migrations'], ['dev/start.ts']),
);
