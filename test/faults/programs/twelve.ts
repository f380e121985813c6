import { runTask } from '../../../src/index.ts'
import { Twelve } from '../../support/twelve-task.ts'

await runTask(Twelve, { name: 'task' })
