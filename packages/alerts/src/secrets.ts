/** What must not be repeated when a provider, or something on the way, repeats it to us. */

const mask = '***'

/** Shorter pieces are parts of ordinary words; masking them would only make texts unreadable. */
const shortestMasked = 6

/** Of a URL that is a secret: all of it, its path, the parts of the path, and the values of its query. */
export function secretsOfUrl(text: string): string[] {
  const { pathname, search, searchParams, username, password } = new URL(text)
  const parts = pathname.split('/').filter((part) => part.length >= 8)
  return [text, pathname + search, pathname, ...parts, ...searchParams.values(), username, password]
}

/** @returns a function that takes the secrets out of a text, also where they are escaped as in JSON or in a URL. */
export function masking(secrets: readonly string[]): (text: string) => string {
  const forms = new Set<string>()
  for (const secret of secrets) {
    for (const form of [secret, JSON.stringify(secret).slice(1, -1), encodeURIComponent(secret), decoded(secret)]) {
      if (form.length >= shortestMasked) forms.add(form)
    }
  }
  // A secret that contains another one is masked whole.
  const longestFirst = [...forms].sort((a, b) => b.length - a.length)
  return (text) => longestFirst.reduce((masked, form) => masked.replaceAll(form, mask), text)
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}
