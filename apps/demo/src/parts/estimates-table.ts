import type { Output } from '../output.js'
import type { QueryEstimate, RowEstimate } from '../row-estimates.js'

export function showRowEstimates(output: Output, estimates: readonly RowEstimate[]): void {
  output.table([
    ['table', 'rows', 'the planner believes'],
    ...estimates.map(({ table, rows, estimated }) => [table, rows, estimated ?? 'never analyzed']),
  ])
}

export function showQueryEstimates(output: Output, estimates: readonly QueryEstimate[]): void {
  output.table([
    ['question', 'rows', 'the planner expects'],
    ...estimates.map(({ question, rows, estimated }) => [question, rows, estimated]),
  ])
}
