import { BatchFaultBook } from './batch-fault-book.ts'
import { callFaultLayer, type Layer } from './call-faults.ts'
import { ListingFaults } from './listing-faults.ts'
import type { Placed, Surroundings } from './occurrences.ts'
import { ReplyFaults } from './reply-faults.ts'
import type { CheckedScenario } from './scenario.ts'
import { type BatchFault, batchFaultSchemas } from './scenario-batch.ts'
import { type CallFault, callFaultSchemas } from './scenario-call.ts'
import { type ListingFault, listingFaultSchemas } from './scenario-listing.ts'
import { type ReplyFault, replyFaultSchemas } from './scenario-reply.ts'

/** A scenario at work, with all its counts. It lasts as long as the emulator. */
export interface ScenarioRun {
  /** Absent without faults of calls. */
  readonly layer: Layer | undefined
  readonly listings: ListingFaults
  readonly batches: BatchFaultBook
  /** Absent without faults of replies. */
  readonly replies: ReplyFaults | undefined
}

type Fault = CheckedScenario['faults'][number]

export function runScenario(
  { faults, seed }: CheckedScenario = { faults: [], seed: 0 },
  surroundings: Surroundings,
): ScenarioRun {
  const placed = faults.map((fault, index) => ({ fault, seed: `${seed} ${index}` }))
  const calls = placed.filter(isCall)
  const replies = placed.filter(isReply)
  return {
    layer: calls.length > 0 ? callFaultLayer(calls, surroundings) : undefined,
    listings: new ListingFaults(placed.filter(isListing), surroundings),
    batches: new BatchFaultBook(placed.filter(isBatch), surroundings),
    replies: replies.length > 0 ? new ReplyFaults(replies, surroundings) : undefined,
  }
}

interface Named {
  readonly shape: { readonly fault: { readonly value: Fault['fault'] } }
}

const namesOf = (schemas: readonly Named[]): ReadonlySet<string> =>
  new Set(schemas.map(({ shape }) => shape.fault.value))

const CALLS = namesOf(callFaultSchemas)
const LISTINGS = namesOf(listingFaultSchemas)
const BATCHES = namesOf(batchFaultSchemas)
const REPLIES = namesOf(replyFaultSchemas)

const isCall = (one: Placed<Fault>): one is Placed<CallFault> => CALLS.has(one.fault.fault)
const isListing = (one: Placed<Fault>): one is Placed<ListingFault> => LISTINGS.has(one.fault.fault)
const isBatch = (one: Placed<Fault>): one is Placed<BatchFault> => BATCHES.has(one.fault.fault)
const isReply = (one: Placed<Fault>): one is Placed<ReplyFault> => REPLIES.has(one.fault.fault)
