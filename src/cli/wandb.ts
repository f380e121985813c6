import type { CommandIo } from './command-io.ts'
import { readAction } from './command-line.ts'

export const WANDB_HELP = `nightshift wandb sync TASK    send what is left of a task's history to W&B
nightshift wandb workspace    set up a view of the figures at W&B

  --help   this text; with an action, its own`

/** `nightshift wandb sync|workspace`: resolves with the exit code. Each is loaded only when it is called. */
export async function wandb(argv: readonly string[], io: CommandIo): Promise<number> {
  const chosen = readAction(argv, 'wandb', ['sync', 'workspace'])
  if (!chosen) {
    io.stdout(WANDB_HELP)
    return 0
  }
  if (chosen.action === 'sync') return (await import('./wandb-sync.ts')).wandbSync(chosen.rest, io)
  return (await import('./wandb-workspace.ts')).wandbWorkspace(chosen.rest, io)
}
