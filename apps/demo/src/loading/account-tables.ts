/** A ruleset, some accounts with their characters, and what they did: small tables beside the killmails. Pure. */
import type { Random } from '../generator/random.js'
import type { CopyValue } from './copy-text.js'
import type { TableRows } from './killmail-tables.js'

const accountCount = 40
const auditLogCount = 600
const dayMs = 86_400_000
const actions = ['ruleset.updated', 'account.login', 'role.assigned', 'feature.updated', 'system.enrichment.retried']

/** In an order that foreign keys accept. */
export function accountTables(random: Random, nowMs: number): readonly TableRows[] {
  const daysAgo = (days: number): Date => new Date(nowMs - Math.round(days * dayMs))
  const accounts = Array.from({ length: accountCount }, (_, index) => ({ id: random.uuid(), number: index + 1 }))
  const characterIds = random.distinct(accountCount + 15, 2_112_000_001, 2_124_000_000)
  return [
    {
      table: 'rulesets',
      columns: [
        'id',
        'min_pilots',
        'tracked_alliance_ids',
        'tracked_corp_ids',
        'tracked_system_ids',
        'tracked_security_types',
        'ignore_unlisted',
        'updated_by',
        'created_at',
        'updated_at',
      ],
      rows: [[random.uuid(), 1, [], [], [], '{}', false, null, daysAgo(200), daysAgo(3)]],
    },
    {
      table: 'accounts',
      columns: [
        'id',
        'email',
        'display_name',
        'is_blocked',
        'is_deleted',
        'is_super_admin',
        'last_login_at',
        'created_at',
        'updated_at',
      ],
      rows: accounts.map(({ id, number }): readonly CopyValue[] => [
        id,
        `account-${number}@example.invalid`,
        `account ${number}`,
        false,
        false,
        number === 1,
        daysAgo(random.next() * 30),
        daysAgo(100 + random.next() * 100),
        daysAgo(random.next() * 30),
      ]),
    },
    {
      table: 'characters',
      columns: [
        'id',
        'account_id',
        'eve_character_id',
        'eve_character_name',
        'corp_id',
        'corp_name',
        'scopes',
        'created_at',
        'updated_at',
      ],
      rows: characterIds.map((characterId, index): readonly CopyValue[] => {
        const corporation = random.integer(98_000_001, 98_799_999)
        return [
          random.uuid(),
          (accounts[index] ?? random.pick(accounts)).id,
          characterId,
          `character ${characterId}`,
          corporation,
          `corporation ${corporation}`,
          '{publicData}',
          daysAgo(50 + random.next() * 50),
          daysAgo(random.next() * 30),
        ]
      }),
    },
    {
      table: 'audit_logs',
      columns: ['actor_account_id', 'action', 'target_type', 'target_id', 'metadata', 'created_at'],
      rows: Array.from({ length: auditLogCount }, (): readonly CopyValue[] => {
        const action = random.pick(actions)
        const actor = action.startsWith('system.') ? null : random.pick(accounts).id
        const target = action.split('.', 1)[0] ?? ''
        // Within the 90 days that the database keeps them.
        return [actor, action, target, random.uuid(), '{}', daysAgo(random.next() * 89)]
      }),
    },
  ]
}

/** Accounts and characters refer to each other, so this follows when both are there. */
export const primaryCharacters = `
  update public.accounts set primary_character_id = (
    select c.id from public.characters c where c.account_id = accounts.id order by c.eve_character_id limit 1
  )`
