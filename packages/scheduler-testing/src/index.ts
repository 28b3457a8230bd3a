export { describeTaskContract } from './describe-task-contract.js'
export { taskContract, type ContractCheck, type TaskContractOptions } from './task-contract.js'
export { FakeTimer } from './fake-timer.js'
export { runOneTask, type RunOneTaskOptions, type OneTaskRun } from './run-one-task.js'
export { fingerprint } from './fingerprint.js'
export {
  createTestDatabase,
  createTestRole,
  leakCheck,
  listOpenConnections,
  sharedServer,
  startPostgres,
  type DatabaseTemplate,
  type TestDatabase,
  type TestDatabaseOptions,
  type TestRole,
  type TestServer,
} from '@battlescope/postgres-testing'
