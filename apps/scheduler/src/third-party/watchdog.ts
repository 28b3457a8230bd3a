export function startWatchdog(_: any): any {
  return { stop() {}, watching() {} }
}
