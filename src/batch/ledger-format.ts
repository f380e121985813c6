/**
 * The form of the ledgers this program writes, and the first release that reads it. Every new kind of step, field or
 * value that an older release would misread or refuse makes a new format.
 *
 * 1: release 0.1.0, whose ledgers do not say so. 2: strays with their answers, uploads in doubt, inputs of embeddings,
 * what each reply was and cost. 3: expected tokens, reservations, what answers were priced by, answers used again,
 * requests that wait for the answer to an identical one, how long batches took, and batches taken back for a deadline.
 */
export const LEDGER_FORMAT = { version: 3, needs: '0.3.0' } as const
