/**
 * Whether the published `.d.ts` files compile with the oldest TypeScript that we promise, in a project that installs the tarballs as a
 * user would. Declarations of other packages are left out: what they need is not ours to say.
 */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import ts from 'typescript-5.4'
import { capture } from '../pnpm.mjs'

/** Resolves to the problems, one text each. `folder` is empty and made into the consumer's project. */
export async function declarationProblems({ folder, packed, typesNode, env }) {
  const tarballs = Object.fromEntries(packed.map(({ name, tarball }) => [name, `file:${tarball}`]))
  const manifest = {
    name: 'consumer',
    private: true,
    type: 'module',
    dependencies: tarballs,
    devDependencies: { '@types/node': typesNode },
    pnpm: { overrides: tarballs },
  }
  writeFileSync(join(folder, 'package.json'), JSON.stringify(manifest))
  const entries = packed.flatMap((one) => one.entries)
  writeFileSync(join(folder, 'consumer.ts'), consumerOf(entries))
  await capture('pnpm', ['install', '--ignore-workspace', '--ignore-scripts', '--prefer-offline', '--no-lockfile'], {
    cwd: folder,
    env,
  })
  const problems = compile(folder)
  // Once more without subpaths: what one of them declares for all must not hide that the root does not.
  writeFileSync(join(folder, 'consumer.ts'), consumerOf(packed.map(({ name }) => name)) + clients)
  return [...problems, ...compile(folder)]
}

const consumerOf = (entries) => entries.map((entry, index) => `export * as package${index} from '${entry}'\n`).join('')

/** Kinds of clients that task packages add to the contract. */
const clients = `import type { ClientTypes } from '@battlescope/scheduler-core'\nexport type Program = ClientTypes['program']\n`

/** The problems of `consumer.ts` in `folder`, and of every declaration file of ours that it reaches. */
export function compile(folder) {
  const consumer = join(folder, 'consumer.ts')
  const program = ts.createProgram([consumer], {
    strict: true,
    exactOptionalPropertyTypes: true,
    noEmit: true,
    skipLibCheck: false,
    target: ts.ScriptTarget.ES2022,
    module: ts.ModuleKind.NodeNext,
    moduleResolution: ts.ModuleResolutionKind.NodeNext,
    types: ['node'],
    typeRoots: [join(folder, 'node_modules/@types')],
  })
  const ours = program
    .getSourceFiles()
    .filter(({ fileName }) => fileName === consumer || fileName.includes('/node_modules/@battlescope/'))
  const diagnostics = [
    ...program.getOptionsDiagnostics(),
    ...ours.flatMap((file) => [...program.getSyntacticDiagnostics(file), ...program.getSemanticDiagnostics(file)]),
  ]
  return diagnostics.map(describe)
}

function describe({ file, start, messageText }) {
  const message = ts.flattenDiagnosticMessageText(messageText, '\n')
  if (file === undefined) return message
  const { line } = file.getLineAndCharacterOfPosition(start ?? 0)
  return `${file.fileName.replace(/^.*\/node_modules\//, '')}:${line + 1}: ${message}`
}
