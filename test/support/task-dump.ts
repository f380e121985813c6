import { emptyStanding, type RequestTable, type SampleStanding } from '../../src/batch/request-table.ts'
import type { TaskState } from '../../src/batch/task-state.ts'

/** Everything a table says about its requests, and about these keys and samples, as plain data to compare. */
export function dumpTable(table: RequestTable, names: readonly string[]) {
  const requests = Array.from({ length: table.last }, (_, index) => ({
    ...table.identity(index + 1),
    ...table.get(index + 1),
    follower: table.follower(index + 1),
  }))
  const keys = names.map((name) => [name, table.find(name)] as const)
  const samples = names.map((name) => [name, standingOf(table, name)] as const)
  return { requests, keys: new Map(keys), samples: new Map(samples) }
}

const standingOf = (table: RequestTable, name: string): SampleStanding => table.sample(name) ?? emptyStanding

/** State and requests as of one moment, as plain data to compare. */
export function dumpTask(view: { readonly state: TaskState; readonly requests: RequestTable }) {
  const { requests } = view
  const names = new Set<string>()
  for (let request = 1; request <= requests.last; request++) {
    const { key, sample } = requests.identity(request)
    names.add(key).add(sample)
  }
  return { state: structuredClone(view.state), ...dumpTable(requests, [...names].sort()) }
}

export type TaskDump = ReturnType<typeof dumpTask>
