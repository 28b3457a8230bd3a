/** What the rules ask about one TypeScript or JavaScript file, answered from its syntax tree. */
import ts from 'typescript'

/** One file, parsed. `path` is relative to the repository. */
export function parseSource(path, text) {
  const tree = ts.createSourceFile(path, text, ts.ScriptTarget.Latest, true)
  return { path, tree, lineOf: (node) => tree.getLineAndCharacterOfPosition(node.getStart(tree)).line + 1 }
}

/** Calls `visit` with every node of the file. */
export function walk({ tree }, visit) {
  const step = (node) => {
    visit(node)
    ts.forEachChild(node, step)
  }
  step(tree)
}

/** Every module the file names: imports, re-exports, `import()`, `import('…')` types and `require()`, type-only or not. */
export function importsOf(source) {
  const imports = []
  const add = (node, literal, typeOnly) => {
    if (literal !== undefined && ts.isStringLiteralLike(literal)) {
      imports.push({ specifier: literal.text, line: source.lineOf(node), typeOnly, node })
    }
  }
  walk(source, (node) => {
    if (ts.isImportDeclaration(node)) add(node, node.moduleSpecifier, isTypeOnlyImport(node.importClause))
    else if (ts.isExportDeclaration(node))
      add(node, node.moduleSpecifier, node.isTypeOnly || allTypeOnly(node.exportClause))
    else if (ts.isImportEqualsDeclaration(node) && ts.isExternalModuleReference(node.moduleReference)) {
      add(node, node.moduleReference.expression, node.isTypeOnly)
    } else if (ts.isImportTypeNode(node) && ts.isLiteralTypeNode(node.argument)) add(node, node.argument.literal, true)
    else if (ts.isModuleDeclaration(node) && ts.isStringLiteral(node.name)) add(node, node.name, true)
    else if (ts.isCallExpression(node)) {
      const isImport = node.expression.kind === ts.SyntaxKind.ImportKeyword
      const isRequire = ts.isIdentifier(node.expression) && node.expression.text === 'require'
      if (isImport || isRequire) add(node, node.arguments[0], false)
    }
  })
  return imports
}

function isTypeOnlyImport(clause) {
  if (clause === undefined) return false
  if (clause.isTypeOnly) return true
  return clause.name === undefined && clause.namedBindings !== undefined && allTypeOnly(clause.namedBindings)
}

function allTypeOnly(bindings) {
  const elements = bindings !== undefined && 'elements' in bindings ? bindings.elements : []
  return elements.length > 0 && elements.every((element) => element.isTypeOnly)
}

/** The package that a specifier names: `@acme/x` of `@acme/x/y`; undefined for relative ones and Node's own modules. */
export function packageOf(specifier) {
  if (
    specifier.startsWith('.') ||
    specifier.startsWith('/') ||
    specifier.startsWith('node:') ||
    specifier.startsWith('#')
  )
    return undefined
  const parts = specifier.split('/')
  return specifier.startsWith('@') ? parts.slice(0, 2).join('/') : parts[0]
}

/** The uses of the wall clock: `Date.now`, `Date()` and `new Date()` without argument, `performance.timeOrigin`. */
export function clockUses(source) {
  const uses = []
  walk(source, (node) => {
    const isDate = (expression) => ts.isIdentifier(expression) && expression.text === 'Date'
    if (ts.isPropertyAccessExpression(node) && isDate(node.expression) && node.name.text === 'now')
      uses.push({ node, what: 'Date.now()' })
    else if (ts.isNewExpression(node) && isDate(node.expression) && (node.arguments?.length ?? 0) === 0) {
      uses.push({ node, what: 'new Date() without argument' })
    } else if (ts.isCallExpression(node) && isDate(node.expression)) uses.push({ node, what: 'Date()' })
    else if (ts.isPropertyAccessExpression(node) && node.name.text === 'timeOrigin')
      uses.push({ node, what: 'performance.timeOrigin' })
  })
  return uses.map(({ node, what }) => ({ what, line: source.lineOf(node) }))
}

/** The uses of the environment: `process.env`, `process['env']`, `const { env } = process`, `import { env } from 'node:process'`. */
export function environmentUses(source) {
  const lines = []
  walk(source, (node) => {
    const isProcess = (expression) =>
      expression !== undefined && ts.isIdentifier(expression) && expression.text === 'process'
    const used =
      (ts.isPropertyAccessExpression(node) && isProcess(node.expression) && node.name.text === 'env') ||
      (ts.isElementAccessExpression(node) &&
        isProcess(node.expression) &&
        ts.isStringLiteralLike(node.argumentExpression) &&
        node.argumentExpression.text === 'env') ||
      (ts.isVariableDeclaration(node) &&
        isProcess(node.initializer) &&
        ts.isObjectBindingPattern(node.name) &&
        node.name.elements.some((element) => (element.propertyName ?? element.name).getText(source.tree) === 'env')) ||
      (ts.isImportSpecifier(node) &&
        (node.propertyName ?? node.name).text === 'env' &&
        /^['"](node:)?process['"]$/.test(node.parent.parent.parent.moduleSpecifier.getText(source.tree)))
    if (used) lines.push(source.lineOf(node))
  })
  return lines
}
