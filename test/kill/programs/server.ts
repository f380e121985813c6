/** The emulator of the killed job, as `startEmulator` starts it. */
import { serveOrders } from '../../support/emulator-server.ts'
import { answers } from '../workload.ts'

await serveOrders(answers)
