/** The options alone: whoever only reads a configuration does not load the channels. */
export {
  alertsConfig,
  channelNames,
  channelOptions,
  type AlertsConfig,
  type ChannelName,
  type Route,
} from './config.js'
