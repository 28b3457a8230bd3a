/** The COPY protocol, evaluated only when a COPY needs it. */
export { from, to } from 'pg-copy-streams'
