export async function loadThirdPartyTasks(..._: any[]): Promise<any> {
  return { loaded: [], disabled: [] }
}
