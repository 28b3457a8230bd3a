/** Of an even number, the mean of the two in the middle. NaN of none. */
export function median(numbers: readonly number[]): number {
  const sorted = [...numbers].sort((a, b) => a - b)
  const at = (index: number) => sorted[Math.floor(index)] ?? NaN
  return (at((sorted.length - 1) / 2) + at(sorted.length / 2)) / 2
}
