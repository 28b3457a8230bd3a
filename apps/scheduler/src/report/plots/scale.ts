/** Axes that begin at zero and end at a round number. Pure. */

/** The next round number: one whose half is round, too. */
export function roundUp(value: number): number {
  if (value <= 0) return 1
  const power = 10 ** Math.floor(Math.log10(value))
  const factor = [1, 1.2, 1.6, 2, 3, 4, 5, 6, 8, 10].find((step) => value <= step * power * (1 + 1e-9)) ?? 10
  return factor * power
}

/** Round in powers of two, so that an axis of bytes ends at 20 MiB and not at 19.07. */
export function roundUpBytes(value: number): number {
  const power = 1024 ** Math.max(0, Math.floor(Math.log2(Math.max(1, value)) / 10))
  return roundUp(value / power) * power
}

/** Round in the units of time that people use. */
export function roundUpMs(ms: number): number {
  if (ms <= 1000) return Math.max(10, roundUp(ms))
  const seconds = [2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14_400, 43_200]
  const found = seconds.find((limit) => ms <= limit * 1000)
  return found === undefined ? roundUp(ms / 3_600_000) * 3_600_000 : found * 1000
}

/** For attributes: short, and never `1e-7`. */
export function coordinate(value: number): string {
  return String(Math.round(value * 1000) / 1000)
}
