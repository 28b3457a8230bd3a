/** ANSI colours (ECMA-48, SGR), or none. */
export type Paint = (text: string, colour: 'red' | 'green' | 'yellow' | 'cyan' | 'dim' | 'bold') => string

const codes = { red: 31, green: 32, yellow: 33, cyan: 36, dim: 2, bold: 1 } as const

export function painter(enabled: boolean): Paint {
  return (text, colour) => (enabled ? `\u001b[${codes[colour]}m${text}\u001b[0m` : text)
}

/** Text from elsewhere must not steer a terminal. */
export function printable(text: string): string {
  // eslint-disable-next-line no-control-regex -- control characters are what is looked for
  return text.replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g, '\u{fffd}')
}
