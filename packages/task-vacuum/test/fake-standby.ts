/** What a standby with hot_standby_feedback says to its primary, without a standby: which transactions its queries still look at. */
import pg from 'pg'

interface ReplicationConnection {
  once(event: 'replicationStart', listener: () => void): void
  sendCopyFromChunk(chunk: Buffer): void
}

/**
 * Begins to receive WAL, through a slot or without one, and asks that nothing be removed that transaction `xmin` may see.
 * https://www.postgresql.org/docs/current/protocol-replication.html
 */
export async function startFakeStandby(url: string, xmin: string, slot?: string): Promise<{ stop(): Promise<void> }> {
  const { lsn } = await selectStart(url)
  const options = { connectionString: url, application_name: 'standby1', replication: 'true' }
  const client = new pg.Client(options)
  client.on('error', () => undefined)
  await client.connect()
  const { connection } = client as unknown as { connection: ReplicationConnection }
  const started = new Promise<void>((resolve) => {
    connection.once('replicationStart', resolve)
  })
  const command = `START_REPLICATION ${slot === undefined ? '' : `SLOT ${slot} `}PHYSICAL ${lsn}`
  // Answered when replication ends, which is when the connection does.
  client.query(command).catch(() => undefined)
  await started
  const feedback = Buffer.alloc(25)
  feedback.write('h', 0)
  feedback.writeUInt32BE(Number(xmin), 9)
  connection.sendCopyFromChunk(feedback)
  return { stop: () => client.end() }
}

async function selectStart(url: string): Promise<{ lsn: string }> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  try {
    const { rows } = await client.query<{ lsn: string }>('SELECT pg_current_wal_lsn()::text AS lsn')
    return rows[0]!
  } finally {
    await client.end()
  }
}
