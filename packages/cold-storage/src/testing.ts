export {
  faultyStore,
  storeMethods,
  type Failure,
  type Fault,
  type FaultyStore,
  type StoreCall,
  type StoreMethod,
} from './faulty-store.js'
export { accessKeyId, bucket, secretAccessKey, StrictS3, type Misbehaviour, type SeenRequest } from './strict-s3.js'
