export {
  faultyStore,
  storeMethods,
  type Failure,
  type Fault,
  type FaultyStore,
  type StoreCall,
  type StoreMethod,
} from './faulty-store.js'
