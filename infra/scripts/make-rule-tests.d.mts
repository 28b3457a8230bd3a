/** File name → text. */
export const ruleTests: Readonly<Record<string, string>>
