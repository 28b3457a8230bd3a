/** How long something lasted, as people read it: `95 s`, `12 min`, `3.5 h`, `2 d`. */
export function showAge(ms: number): string {
  const inSeconds = Math.round(ms / 1000)
  if (inSeconds < 120) return `${inSeconds} s`
  if (inSeconds < 7200) return `${Math.round(inSeconds / 60)} min`
  if (inSeconds < 172_800) return `${Math.round(inSeconds / 360) / 10} h`
  return `${Math.round(inSeconds / 86_400)} d`
}
