/** Rows of a dropped partition come back through the relation, once there is a partition that takes them. */
import { randomUUID } from 'node:crypto'
import { afterEach, describe, expect, it } from 'vitest'
import { createPartitionWorld, events, policy, type PartitionWorld } from './partition-world.js'

let world: PartitionWorld
afterEach(() => world.close())

const restore = () => {
  const config = { policies: [policy] }
  return world.run({ config, request: { do: 'restore', id: randomUUID(), from: '1990-01', to: '2999-12' } })
}

describe('a restore of a dropped partition', () => {
  it('says which partition is missing, loses nothing, and brings the rows back once it is there', async () => {
    world = await createPartitionWorld({ sql: `DELETE FROM ${events} WHERE id / 1000 IN (60, 61, 62)` })
    await world.goToEnd()
    expect(await world.tables()).toEqual(['events_m60*', 'events_m59*', 'events_m1*'])
    const refused = await restore()
    const findings = refused.task.run?.findings ?? []
    expect(findings.length).toBeGreaterThanOrEqual(1)
    const hints = new Set(findings.map(({ details }) => (details as { hint: string }).hint))
    expect(hints.size).toBe(1)
    const [hint = ''] = hints
    expect(hint).toMatch(
      /^make room first, then restore again: CREATE TABLE "public"\."events_m63" PARTITION OF "public"\."events" FOR VALUES/,
    )
    expect(await world.count(events, 'id / 1000 = 63')).toBe(0)
    expect(await world.losses()).toEqual([])

    await world.database.query(hint.slice(hint.indexOf('CREATE')))
    const done = await restore()
    expect(done.task.run).toMatchObject({ outcome: 'succeeded', findings: [] })
    expect(await world.count('public.events_m63')).toBe(100)
    expect(await world.losses()).toEqual([])

    // Held: the partition stays. Then it goes a second time, under the same name.
    await world.goToEnd()
    expect(await world.count('public.events_m63')).toBe(100)
    await world.database.query('DELETE FROM scheduler.archive_hold')
    const runs = await world.goToEnd()
    expect(runs.at(-1)?.task.run).toMatchObject({ outcome: 'succeeded', findings: [] })
    expect(await world.tables()).toEqual(['events_m60*', 'events_m59*', 'events_m1*'])
    expect(await world.losses()).toEqual([])
  })
})
