/** What a command line selects of the archive: months and relations. */
import { parseRelationName, type RelationName } from '@battlescope/database'
import { codeOf, SchedulerError } from '@battlescope/scheduler-core'

export interface SelectionArguments {
  readonly from?: string
  readonly to?: string
  readonly relation?: readonly string[]
}

export interface Selection {
  readonly fromMonth?: string
  readonly toMonth?: string
  readonly relations?: readonly SelectedRelation[]
}

export interface SelectedRelation {
  /** As the catalog names it. */
  readonly key: string
  readonly relation: RelationName
}

/** @throws SchedulerError `usage` */
export function selectionOf({ from, to, relation }: SelectionArguments): Selection {
  const [fromMonth, toMonth] = [monthOf('--from', from), monthOf('--to', to)]
  if (fromMonth !== undefined && toMonth !== undefined && fromMonth > toMonth) {
    throw new SchedulerError('usage', `--from: ${fromMonth} is after --to ${toMonth}`, {
      hint: 'both are months, and both are included',
    })
  }
  return {
    ...(fromMonth === undefined ? {} : { fromMonth }),
    ...(toMonth === undefined ? {} : { toMonth }),
    ...(relation === undefined ? {} : { relations: relation.flatMap((names) => names.split(',')).map(relationOf) }),
  }
}

function monthOf(flag: string, text: string | undefined): string | undefined {
  if (text === undefined || /^\d{4}-(0[1-9]|1[0-2])$/.test(text)) return text
  throw new SchedulerError('usage', `${flag}: '${text}' is no month`, { hint: 'write year and month: 2020-01' })
}

function relationOf(text: string): SelectedRelation {
  try {
    const relation = parseRelationName(text)
    return { key: keyOf(relation), relation }
  } catch (error) {
    if (codeOf(error) !== 'identifier') throw error
    const { message, hint } = error as { readonly message: string; readonly hint?: string }
    throw new SchedulerError('usage', `--relation: ${message}`, hint === undefined ? {} : { hint })
  }
}

/** The catalog's names: quoted where they need it. */
function keyOf({ schema, name }: RelationName): string {
  const quote = (identifier: string) =>
    /^[a-z_][a-z0-9_$]*$/.test(identifier) ? identifier : `"${identifier.replaceAll('"', '""')}"`
  return `${quote(schema)}.${quote(name)}`
}
