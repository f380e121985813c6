import { type Findings, isWithin, type Verdict } from './figures.ts'

/** Findings as text for people. */
export function renderFindings({ title, notes = [], columns, rows, verdicts }: Findings): string {
  const told = verdicts.length > 0 ? ['', ...verdicts.map(renderVerdict)] : []
  return [title, ...notes, '', ...renderTable(columns, rows), ...told, '', ''].join('\n')
}

function renderTable(columns: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const all = [columns, ...rows]
  const widths = columns.map((_, column) => Math.max(...all.map((row) => row[column]?.length ?? 0)))
  return all.map((row) => row.map((cell, column) => cell.padStart(widths[column] ?? 0)).join('  '))
}

const renderVerdict = (verdict: Verdict): string => {
  const { what, value, budget, unit } = verdict
  return `${isWithin(verdict) ? 'ok  ' : 'OVER'}  ${what}: ${value.toFixed(2)}${unit} of at most ${budget.toFixed(2)}${unit}`
}
