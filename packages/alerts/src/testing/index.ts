/** Stand-ins for the providers: real HTTP servers on 127.0.0.1 that enforce the documented limits. For tests alone. */
export { limitOf, limits, providers, type Limit, type Provider } from './limits.js'
export {
  startProviderServer,
  type Contract,
  type Fault,
  type ProviderAnswer,
  type ProviderServer,
  type ReceivedRequest,
} from './provider-server.js'
export { startPagerduty, type PagerdutyIncident, type PagerdutyServer } from './pagerduty-server.js'
export { startJsm, type JsmAlert, type JsmServer } from './jsm-server.js'
export { startAlertmanager, type AlertmanagerAlert, type AlertmanagerServer } from './alertmanager-server.js'
export { startSlack, type SlackServer } from './slack-server.js'
export { startWebhook, type WebhookServer } from './webhook-server.js'
export { startHeartbeat, type HeartbeatServer } from './heartbeat-server.js'
export { deliveryContext, fetchClient } from './delivery-context.js'
