/** Runs a task in a process of its own: `taskDir count tokens`. The environment names its server. */
import { wordyTask } from './wordy-task.ts'

const [taskDir = '', count = '0', tokens = '0'] = process.argv.slice(2)
const Task = wordyTask(Number(count), Number(tokens))
const task = new Task({ name: 'task', taskDir, minBatchRequests: 1, remoteUpdateInterval: 1 })
const { complete, succeeded, retries } = await task.run()
process.stdout.write(JSON.stringify({ complete, succeeded, retries }))
