/** YAML, of which JSON is a part, with the lines that problems are reported with. Evaluated only when there is a file. */
import { LineCounter, parseDocument } from 'yaml'

export interface YamlFile {
  readonly errors: readonly { readonly line: number; readonly message: string }[]
  readonly content: unknown
  /** The line of a key, from 1; undefined when it is not in the file. */
  readonly lineOf: (keys: readonly PropertyKey[]) => number | undefined
}

export function readYaml(text: string): YamlFile {
  const lineCounter = new LineCounter()
  const document = parseDocument(text, { lineCounter, prettyErrors: true })
  return {
    errors: document.errors.map(({ pos, message }) => ({
      line: lineCounter.linePos(pos[0]).line,
      message: message.split('\n')[0] ?? '',
    })),
    // A small file must not become a large one through aliases of aliases.
    content: document.errors.length > 0 ? undefined : (document.toJS({ maxAliasCount: 100 }) as unknown),
    lineOf: (keys) => {
      const node = document.getIn(keys, true) as { range?: [number, number, number] } | undefined
      return node?.range === undefined ? undefined : lineCounter.linePos(node.range[0]).line
    },
  }
}
