import { defineTask, type Task } from '@battlescope/scheduler-core'
import { retentionConfig } from './config.js'
import { cursorSchema, type Cursor } from './cursor.js'
import { mayDetach } from './plan-partitions.js'
import { keyOf, resolvePolicies, type Policy } from './policy.js'
import { retentionRequest, type RetentionRequest } from './request.js'

/** Archives what expired, and deletes exactly what was archived. */
export const retention: Task<typeof retentionConfig, unknown, Cursor, RetentionRequest> = defineTask({
  apiVersion: 1,
  name: 'retention',
  description: 'moves expired rows to cold storage and deletes them',
  schedule: { kind: 'cron', expression: '0 2 * * *', timezone: 'UTC' },
  timeoutMs: 45_000,
  heavy: true,
  configSchema: retentionConfig,
  checkpointSchema: cursorSchema,
  requestSchema: retentionRequest,
  requires: (config) => {
    const policies = resolvePolicies(config)
    const relation = ({ relation: name }: { readonly relation: { readonly schema: string; readonly name: string } }) =>
      keyOf(name)
    return {
      relations: policies.flatMap((policy) => [
        { relation: relation(policy), privileges: ['select', 'update', 'delete'] as const },
        ...policy.children.map((child) => ({ relation: relation(child), privileges: ['select', 'delete'] as const })),
        ...policy.members.map((member) => ({ relation: relation(member), privileges: ['select'] as const })),
      ]),
      ...(policies.some(({ archive }) => archive) ? { clients: ['store'] as const } : {}),
      ...requiredDirect(config.createMissingIndexes, policies),
    }
  },
  run: async (context) => (await import('./run.js')).runRetention(context),
})

/** Without a session of its own partitions go row by row, but an index that was asked for cannot be built. */
function requiredDirect(buildsIndexes: boolean, policies: readonly Policy[]): { readonly direct?: true | 'optional' } {
  if (buildsIndexes) return { direct: true }
  return policies.some((policy) => mayDetach(policy, policies)) ? { direct: 'optional' } : {}
}
