import { displayDefault } from './display.js'
import { deriveOptions } from './options.js'
import type { Section } from './sections.js'
import { allowedValues } from './wording.js'

/** The options of a section as a Markdown table, for READMEs and reference pages. */
export function optionTable(section: Section): string {
  const rows = deriveOptions([section]).options.map((option) => {
    const preset = displayDefault(option)
    const file = option.environmentFile === undefined ? '' : `, \`${option.environmentFile}\``
    return [
      option.inFile ? `\`${option.path}\`` : '–',
      `\`${option.environment}\`${file}`,
      escapeCell(allowedValues(option.schema)),
      preset === undefined ? '–' : escapeCell(`\`${typeof preset === 'string' ? preset : JSON.stringify(preset)}\``),
      escapeCell(option.description ?? ''),
    ]
  })
  const lines = [
    ['option', 'environment', 'allowed', 'default', 'meaning'],
    Array.from({ length: 5 }, () => '---'),
    ...rows,
  ]
  return `${lines.map((cells) => `| ${cells.join(' | ')} |`).join('\n')}\n`
}

function escapeCell(text: string): string {
  return text.replaceAll('|', '\\|').replace(/\s*\n\s*/g, ' ')
}
