/**
 * Which package may import what. The direction is `apps → task-*, alerts → archive → cold-storage, database, scheduler-core`; this file says it
 * per package, and what else holds of every manifest and every import.
 */
import { isBuiltin } from 'node:module'
import { posix } from 'node:path'
import { clockOwners, environmentOwners } from './owners.mjs'
import { clockUses, environmentUses, importsOf, packageOf, parseSource } from './source.mjs'
import { taskFileViolations } from './task-files.mjs'

const scope = '@battlescope/'
const ground = ['scheduler-core', 'database', 'cold-storage', 'archive', 'redis']
const testOnly = ['scheduler-testing', 'postgres-testing']
/** The programs that are never in the image, and so may start test servers. */
const workbenches = ['apps/demo', 'apps/bench']

/** What the code of a package may import of this repository, by the package's folder. Task names stand for themselves. */
function importable(folder, taskNames) {
  const name = posix.basename(folder)
  if (workbenches.includes(folder)) return [...taskNames, 'alerts', ...ground, ...testOnly]
  if (folder.startsWith('apps/')) return [...taskNames, 'alerts', ...ground]
  if (name.startsWith('task-') || name === 'alerts') return ground
  if (name === 'cold-storage' || name === 'redis') return ['scheduler-core']
  if (name === 'archive') return ['scheduler-core', 'database', 'cold-storage']
  if (name === 'scheduler-testing') return ['scheduler-core', 'database', 'postgres-testing']
  return []
}

/** What core must never know: a driver, a command line, a logger. */
const foreignToCore = /^(pg|pg-.*|postgres|@types\/pg|yargs|@types\/yargs|pino|pino-.*)$/

/**
 * All violations in the repository, `{ file, line, message }`.
 * A package is `{ folder, manifestText, files }`; `files` maps paths relative to the repository to their text.
 */
export function findViolations(packages, owners = { clockOwners, environmentOwners }) {
  const parsed = packages.map((one) => ({ ...one, manifest: JSON.parse(one.manifestText) }))
  const names = new Set(parsed.map(({ manifest }) => manifest.name))
  const taskNames = parsed.map(({ folder }) => posix.basename(folder)).filter((name) => name.startsWith('task-'))
  return [
    ...parsed.flatMap((one) => manifestViolations(one, names, taskNames)),
    ...cycles(parsed),
    ...parsed.flatMap((one) =>
      [...one.files].flatMap(([path, text]) => sourceViolations(one, path, text, parsed, taskNames, owners)),
    ),
    ...parsed.filter(({ folder }) => posix.basename(folder).startsWith('task-')).flatMap(taskFileViolations),
  ]
}

/** `file:line: message`, as editors and terminals link it. */
export const formatViolation = ({ file, line, message }) => `${file}:${line}: ${message}`

function manifestViolations({ folder, manifest, manifestText }, names, taskNames) {
  const violations = []
  const file = `${folder}/package.json`
  const report = (dependency, message) => violations.push({ file, line: lineOf(manifestText, dependency), message })
  const allowed = importable(folder, taskNames)

  if (manifest.name !== scope + posix.basename(folder))
    report('name', `is named ${manifest.name}, but its folder says ${scope}${posix.basename(folder)}`)
  if (folder.startsWith('apps/') && manifest.private !== true)
    report('name', 'apps are private: they are shipped as an image, not as packages')

  for (const field of ['dependencies', 'peerDependencies', 'optionalDependencies', 'devDependencies']) {
    for (const [dependency, range] of Object.entries(manifest[field] ?? {})) {
      const own = dependency.startsWith(scope) ? dependency.slice(scope.length) : undefined
      if (own === undefined) {
        if (
          posix.basename(folder) === 'scheduler-core' &&
          field !== 'devDependencies' &&
          foreignToCore.test(dependency)
        ) {
          report(dependency, `core knows no driver, no command line and no logger, but depends on ${dependency}`)
        }
        continue
      }
      if (!names.has(dependency)) report(dependency, `${dependency} is no package of this repository`)
      else if (!range.startsWith('workspace:'))
        report(dependency, `${dependency} must be taken from the workspace, not as ${range}`)
      const developmentOnly =
        field === 'devDependencies'
          ? [...ground, ...testOnly, ...(workbenches.includes(folder) ? ['scheduler'] : [])]
          : []
      if (![...allowed, ...developmentOnly].includes(own)) report(dependency, explain(folder, own, field))
    }
  }
  return violations
}

function sourceViolations(owner, path, text, packages, taskNames, { clockOwners, environmentOwners }) {
  if (!/\.([cm]?[jt]s|tsx)$/.test(path)) return []
  const violations = []
  const report = (line, message) => violations.push({ file: path, line, message })
  const { folder, manifest } = owner
  const inside = posix.relative(folder, path)
  const isSource = /^(src|bin)\//.test(inside)
  const source = parseSource(path, text)
  const allowed = importable(folder, taskNames)

  for (const { specifier, line } of importsOf(source)) {
    if (specifier.startsWith('/') || specifier.startsWith('file:'))
      report(line, `import of an absolute path: ${specifier}`)
    if (specifier.startsWith('.')) {
      const target = posix.normalize(posix.join(posix.dirname(path), specifier))
      const isSharedTestConfiguration = inside === 'vitest.config.ts' && target === 'vitest.shared.js'
      if (!target.startsWith(`${folder}/`) && !isSharedTestConfiguration)
        report(line, `relative import leaves the package: ${specifier}`)
      else if (isSource && posix.relative(folder, target).startsWith('test/'))
        report(line, `code imports a test: ${specifier}`)
      continue
    }
    const dependency = packageOf(specifier)
    if (dependency === undefined || dependency === manifest.name) continue
    if (posix.basename(folder) === 'scheduler-core' && isSource && foreignToCore.test(dependency)) {
      report(line, `core knows no driver, no command line and no logger, but imports ${dependency}`)
    }
    if (!dependency.startsWith(scope)) {
      const named = { ...manifest.dependencies, ...manifest.peerDependencies }
      if (isSource && manifest.private !== true && named[dependency] === undefined && !isBuiltin(specifier)) {
        report(
          line,
          `imports ${dependency}, which its package.json does not name under dependencies: whoever installs the package lacks it`,
        )
      }
      continue
    }
    const own = dependency.slice(scope.length)
    const permitted = isSource ? allowed : [...allowed, ...ground, ...testOnly]
    if (!permitted.includes(own)) report(line, explain(folder, own, 'import'))
    const declared = {
      ...manifest.dependencies,
      ...manifest.peerDependencies,
      ...(isSource ? {} : manifest.devDependencies),
    }
    if (permitted.includes(own) && declared[dependency] === undefined) {
      report(
        line,
        `imports ${dependency}, which its package.json does not name under ${isSource ? 'dependencies' : 'devDependencies'}`,
      )
    }
    const target = packages.find((one) => one.manifest.name === dependency)
    const entry = `.${specifier.slice(dependency.length)}`
    if (target !== undefined && !(entry in (target.manifest.exports ?? {})))
      report(line, `${specifier} reaches past what ${dependency} exports`)
  }

  if (isSource) {
    const owns = (owners) => owners.some((one) => path === one || (one.endsWith('/') && path.startsWith(one)))
    if (!owns(clockOwners)) {
      for (const { what, line } of clockUses(source))
        report(line, `${what}: time is an argument (scripts/architecture/owners.mjs lists who owns the clock)`)
    }
    if (!owns(environmentOwners)) {
      for (const line of environmentUses(source))
        report(line, 'process.env: configuration is an argument (scripts/architecture/owners.mjs lists who owns it)')
    }
  }
  return violations
}

/** Why `folder` may not use `own`. */
function explain(folder, own, how) {
  const use = how === 'import' ? 'imports' : `names under ${how}`
  if (posix.basename(folder).startsWith('task-') && own.startsWith('task-'))
    return `no task imports a task: ${use} ${scope}${own}`
  if (['scheduler', 'demo', 'bench'].includes(own)) return `nobody imports an app: ${use} ${scope}${own}`
  if (testOnly.includes(own)) return `${scope}${own} is only ever a devDependency, for tests: ${use} it`
  return `against the direction of imports (apps → task-*, alerts → archive → cold-storage, database, scheduler-core): ${use} ${scope}${own}`
}

/** Cycles of the package graph, development dependencies included: turbo and TypeScript could not order them. */
function cycles(packages) {
  const byName = new Map(packages.map((one) => [one.manifest.name, one]))
  const finished = new Set()
  const violations = []
  const visit = (name, trail) => {
    const at = trail.indexOf(name)
    if (at !== -1) {
      const { folder, manifestText } = byName.get(trail.at(-1))
      const message = `packages depend on each other in a circle: ${[...trail.slice(at), name].join(' → ')}`
      violations.push({ file: `${folder}/package.json`, line: lineOf(manifestText, name), message })
      return
    }
    if (finished.has(name)) return
    const { manifest } = byName.get(name)
    for (const next of Object.keys({
      ...manifest.dependencies,
      ...manifest.peerDependencies,
      ...manifest.devDependencies,
    })) {
      if (byName.has(next)) visit(next, [...trail, name])
    }
    finished.add(name)
  }
  for (const name of byName.keys()) visit(name, [])
  return violations
}

function lineOf(manifestText, key) {
  const index = manifestText.split('\n').findIndex((line) => line.includes(`"${key}":`))
  return index === -1 ? 1 : index + 1
}
