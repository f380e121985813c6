import type { BatchFault } from '../../batch/steps.ts'

/** Codes and texts vary by deployment (reference/batch-api.md 3.1): both are looked at. */
const MODEL_CODE = /model_not_found|model_not_supported|unsupported_model|invalid_model/i
const MODEL_TEXT =
  /model\b.{0,80}\b(not (be )?(supported|found|available)|does not exist|not exist|unsupported|cannot be (used|batched))|not supported.{0,40}\bmodel\b/i
/** Two models in one file, which is the file's fault and not the model's. */
const MIXED = /mismatch/i

/** The fault by which a batch says that its model cannot be batched at all. */
export const modelFault = (faults: readonly BatchFault[]): BatchFault | undefined =>
  faults.find(({ code, message }) => !MIXED.test(code) && (MODEL_CODE.test(code) || MODEL_TEXT.test(message)))
