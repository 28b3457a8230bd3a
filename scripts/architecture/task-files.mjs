/** The shape of a task package: the same files every time, and what each of them never holds. */
import ts from 'typescript'
import { clockUses, importsOf, packageOf, parseSource, walk } from './source.mjs'

/** The files that every task package has. */
export const taskFiles = ['src/index.ts', 'src/config.ts', 'src/queries.ts', 'src/plan.ts', 'src/task.ts', 'README.md']

const databasePackages = ['@battlescope/database', 'kysely', 'pg', 'pg-copy-streams']

/** Violations of one task package: `{ file, line, message }`. */
export function taskFileViolations({ folder, files }) {
  const violations = []
  for (const name of taskFiles) {
    if (!files.has(`${folder}/${name}`))
      violations.push({ file: `${folder}/${name}`, line: 1, message: 'is missing: every task package has it' })
  }
  for (const [name, rule] of Object.entries(rules)) {
    const path = `${folder}/src/${name}`
    if (!files.has(path)) continue
    const source = parseSource(path, files.get(path))
    rule(source, (node, message) =>
      violations.push({ file: path, line: typeof node === 'number' ? node : source.lineOf(node), message }),
    )
  }
  return violations
}

const rules = {
  'index.ts'(source, report) {
    for (const statement of source.tree.statements) {
      if (
        !ts.isExportDeclaration(statement) &&
        !ts.isExportAssignment(statement) &&
        !ts.isImportDeclaration(statement)
      ) {
        report(statement, 'index.ts holds exports, never code')
      }
    }
  },

  'config.ts'(source, report) {
    for (const { specifier, line } of importsOf(source)) {
      if (specifier.startsWith('node:')) report(line, `config.ts does no I/O, but imports ${specifier}`)
    }
  },

  'queries.ts'(source, report) {
    walk(source, (node) => {
      if (isLoop(node)) report(node, 'queries.ts holds single statements, never loops')
      if (ts.isIdentifier(node) && (node.text === 'console' || node.text === 'logger' || node.text === 'TaskLogger')) {
        report(node, 'queries.ts never logs')
      }
    })
  },

  'plan.ts'(source, report) {
    walk(source, (node) => {
      if (ts.isAwaitExpression(node) || node.kind === ts.SyntaxKind.AsyncKeyword)
        report(node, 'plan.ts is pure: no async, no await')
      if (
        ts.isIdentifier(node) &&
        ['Promise', 'performance', 'Clock', 'setTimeout', 'setImmediate'].includes(node.text)
      ) {
        report(node, `plan.ts is pure: no ${node.text}`)
      }
    })
    for (const { line, what } of clockUses(source)) report(line, `plan.ts is pure: ${what} is a clock`)
    for (const { specifier, typeOnly, line } of importsOf(source)) {
      if (typeOnly) continue
      if (
        databasePackages.includes(packageOf(specifier)) ||
        specifier === './queries.js' ||
        specifier.startsWith('node:')
      ) {
        report(line, `plan.ts is pure: it may import types of ${specifier}, no code`)
      }
    }
  },

  'task.ts': noSql('task.ts'),
  'run.ts': noSql('run.ts'),
}

function noSql(file) {
  return (source, report) => {
    for (const { specifier, typeOnly, line } of importsOf(source)) {
      if (!typeOnly && ['kysely', 'pg', 'pg-copy-streams'].includes(packageOf(specifier))) {
        report(line, `${file} holds no SQL: what needs ${specifier} belongs in queries.ts`)
      }
    }
  }
}

function isLoop(node) {
  return (
    ts.isForStatement(node) ||
    ts.isForOfStatement(node) ||
    ts.isForInStatement(node) ||
    ts.isWhileStatement(node) ||
    ts.isDoStatement(node)
  )
}
