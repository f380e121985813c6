import { nextSubmitAction, type SubmitAction, type SubmitSubject } from '../../batch/submit.ts'
import type { GatewayBatch } from '../domain/batch.ts'

/** What a process did or found about a batch in its present phase, since it claimed it. */
export interface Knowledge {
  readonly phase: GatewayBatch['phase']
  /** The phase was committed under an earlier claim: what came after that is unknown. */
  readonly resumed: boolean
  readonly uploadAbsent: boolean
  readonly batchAbsent: boolean
}

/** What is known right after a batch was claimed, or when it has come into another phase. */
export const freshKnowledge = ({ phase, phaseEpoch }: GatewayBatch, epoch: number): Knowledge => ({
  phase,
  resumed: phaseEpoch !== epoch,
  uploadAbsent: false,
  batchAbsent: false,
})

export interface SubmitSituation {
  readonly knowledge: Knowledge
  readonly nowMs: number
  readonly graceMs: number
  /** Prompt tokens that a batch of the model should not pass; undefined: any may be tried. */
  readonly cap: number | undefined
}

/** What the submit protocol asks for now. */
export function submitAction(batch: GatewayBatch, situation: SubmitSituation): SubmitAction {
  const { knowledge, nowMs, graceMs, cap } = situation
  const { live, tokens, cancel, uploadInDoubt } = batch
  return nextSubmitAction(subjectOf(batch), {
    ...knowledge,
    uploadInDoubt,
    mayStart: cancel === undefined,
    mustShrink: live > 1 && cap !== undefined && tokens > cap,
    mayCarve: false,
    graceWaited: false,
    nowMs,
    graceMs,
  })
}

/** Lines whose requests have ended meanwhile are left out when the others are uploaded, so all that counts is alive. */
function subjectOf({ phase, live, fencedAt }: GatewayBatch): SubmitSubject {
  if (phase === 'sealed') return { phase, live, requests: live }
  return phase === 'fenced' ? { phase, fencedAt: fencedAt ?? 0 } : { phase }
}
