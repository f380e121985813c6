import { describeStores } from '../../support/gateway-stores.ts'
import { acceptingContract } from './accepting-contract.ts'
import { batchesContract } from './batches-contract.ts'
import { callsContract } from './calls-contract.ts'
import { outcomesContract } from './outcomes-contract.ts'
import { sharedContract } from './shared-contract.ts'

describeStores('the gateway store', (rig) => {
  acceptingContract(rig)
  batchesContract(rig)
  outcomesContract(rig)
  callsContract(rig)
  sharedContract(rig)
})
