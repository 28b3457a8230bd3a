import eslint from '@eslint/js'
import { defineConfig } from 'eslint/config'
import tseslint from 'typescript-eslint'
import { clockOwners, environmentOwners } from './scripts/architecture/owners.mjs'

/** Rules that find bugs. Taste is prettier's. */
const typescript = [
  '{packages,apps}/*/{src,test,scripts}/**/*.ts',
  '{packages,apps}/*/vitest.config.ts',
  '{docker,infra}/{test/**/*,vitest.config}.ts',
  'scripts/**/*.ts',
]
const source = ['{packages,apps}/*/src/**/*.ts']
const tests = ['{packages/*,apps/*,docker,infra}/test/**/*.ts']
const plain = ['**/*.{js,mjs,cjs}']

const ownedBy = (owners) => owners.map((path) => (path.endsWith('/') ? `${path}**` : path))

const timeIsAnArgument = 'time is an argument: take a Clock (scripts/architecture/owners.mjs lists who owns it)'
const clock = [
  { selector: "MemberExpression[object.name='Date'][property.name='now']", message: timeIsAnArgument },
  { selector: "NewExpression[callee.name='Date'][arguments.length=0]", message: timeIsAnArgument },
  { selector: "CallExpression[callee.name='Date']", message: timeIsAnArgument },
]
const environment = {
  object: 'process',
  property: 'env',
  message: 'configuration is an argument (scripts/architecture/owners.mjs lists who owns the environment)',
}

export default defineConfig(
  {
    ignores: [
      '**/dist/**',
      '**/coverage/**',
      '**/.turbo/**',
      '**/.tmp/**',
      '**/node_modules/**',
      'scripts/new-task/**',
      '**/test/fixtures/**',
    ],
  },
  { linterOptions: { reportUnusedDisableDirectives: 'error' } },

  {
    files: typescript,
    extends: [eslint.configs.recommended, tseslint.configs.strictTypeChecked],
    languageOptions: {
      parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname },
    },
    rules: {
      eqeqeq: 'error',
      'no-console': 'error',
      'no-restricted-imports': [
        'error',
        { patterns: [{ regex: '^\\.{1,2}/.*(?<!\\.(js|cjs|mjs|json))$', message: 'relative imports end in .js' }] },
      ],
      '@typescript-eslint/consistent-type-imports': ['error', { disallowTypeAnnotations: false }],
      '@typescript-eslint/no-import-type-side-effects': 'error',
      '@typescript-eslint/switch-exhaustiveness-check': ['error', { considerDefaultExhaustiveForUnions: true }],
      '@typescript-eslint/no-unused-vars': [
        'error',
        { argsIgnorePattern: '^_', varsIgnorePattern: '^_', caughtErrors: 'none' },
      ],
      // Numbers and booleans read well in templates; objects and undefined do not.
      '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true, allowBoolean: true }],
      // Taste, or harmless.
      '@typescript-eslint/no-confusing-void-expression': 'off',
      '@typescript-eslint/no-meaningless-void-operator': 'off',
      '@typescript-eslint/no-dynamic-delete': 'off',
      '@typescript-eslint/no-unnecessary-template-expression': 'off',
      '@typescript-eslint/no-unnecessary-type-arguments': 'off',
      '@typescript-eslint/no-unnecessary-type-conversion': 'off',
      '@typescript-eslint/no-unnecessary-boolean-literal-compare': 'off',
      // A type parameter used once still names what a caller chooses (`query<Row>()`).
      '@typescript-eslint/no-unnecessary-type-parameters': 'off',
      // Interfaces here are implemented by synchronous fakes as well.
      '@typescript-eslint/require-await': 'off',
      // `void` in a union is how the contract says "or nothing at all".
      '@typescript-eslint/no-invalid-void-type': 'off',
      // Types that others extend by declaration merging look redundant from here.
      '@typescript-eslint/no-redundant-type-constituents': 'off',
      // Third-party tasks break their types at run time: checks that look unnecessary are the point.
      '@typescript-eslint/no-unnecessary-condition': 'off',
      '@typescript-eslint/no-misused-spread': ['error', { allow: [{ from: 'lib', name: 'string' }, 'string'] }],
      '@typescript-eslint/only-throw-error': ['error', { allowThrowingUnknown: true, allowThrowingAny: false }],
      '@typescript-eslint/prefer-promise-reject-errors': ['error', { allowThrowingUnknown: true }],
      '@typescript-eslint/no-floating-promises': ['error', { checkThenables: true }],
    },
  },

  // Time and configuration are arguments, except in the files that own them.
  { files: source, ignores: ownedBy(clockOwners), rules: { 'no-restricted-syntax': ['error', ...clock] } },
  { files: source, ignores: ownedBy(environmentOwners), rules: { 'no-restricted-properties': ['error', environment] } },

  // Tests: what strictness buys in programs it only costs here.
  {
    files: tests,
    rules: {
      '@typescript-eslint/no-non-null-assertion': 'off',
      '@typescript-eslint/no-empty-function': 'off',
      '@typescript-eslint/no-unsafe-assignment': 'off',
      '@typescript-eslint/no-unsafe-member-access': 'off',
      '@typescript-eslint/unbound-method': 'off',
    },
  },

  // Programs talk to a terminal, and test servers say what they left for a look.
  {
    files: ['apps/*/{src,scripts}/**/*.ts', 'packages/*-testing/**/*.ts', 'scripts/**/*.ts'],
    rules: { 'no-console': 'off' },
  },

  {
    files: plain,
    extends: [eslint.configs.recommended],
    languageOptions: {
      globals: {
        process: 'readonly',
        console: 'readonly',
        performance: 'readonly',
        URL: 'readonly',
        Buffer: 'readonly',
        setTimeout: 'readonly',
        clearTimeout: 'readonly',
        setInterval: 'readonly',
        clearInterval: 'readonly',
        AbortController: 'readonly',
        AbortSignal: 'readonly',
        fetch: 'readonly',
        require: 'readonly',
        module: 'writable',
        __dirname: 'readonly',
        __filename: 'readonly',
      },
    },
    rules: {
      eqeqeq: 'error',
      'no-unused-vars': ['error', { argsIgnorePattern: '^_', varsIgnorePattern: '^_', caughtErrors: 'none' }],
    },
  },
)
