/**
 * A stand-in for PostgreSQL, in which nothing is due to be changed: enough of its protocol for a run to go from the connection to its end,
 * so that the code cache holds what a run comes to. A build has no server. Only for the code cache: tests use real ones.
 *
 * It does not know the program's statements. A SELECT is answered with one row, whose columns are read off the statement and whose values go
 * by their names; one from the catalog, or without a column that has a value, with none. Everything else has changed one row.
 * https://www.postgresql.org/docs/current/protocol-message-formats.html
 */
import { createHmac, pbkdf2Sync } from 'node:crypto'
import { createServer } from 'node:net'

const sslRequest = 80877103

/** Object identifiers of types, as in pg_type. */
const types = { bool: 16, int4: 23, text: 25, json: 114, timestamptz: 1184 }

/** What a column holds. The first that fits. */
const values = [
  {
    name: /^(now|.*(_at|At|_since))$/,
    type: types.timestamptz,
    value: () => `${new Date().toISOString().replace('T', ' ').replace('Z', '')}+00`,
  },
  { name: /^version(Num)?$/, type: types.int4, value: () => '150000' },
  { name: /^(inRecovery|expired)$/, type: types.bool, value: () => 'f' },
  { name: /^(superuser|singleton)$/, type: types.bool, value: () => 't' },
  {
    name: /^(instance_id|database|currentUser)$/,
    type: types.text,
    value: () => 'aaaaaaaa-0000-4000-8000-000000000000',
  },
]
/** What planning reads of a task: its name is NULL, so there are none yet. Those of every run are due, and others by `--force`. */
const absentTask = /^(name|revision|first_seen_at|last_.*|retry_at|paused_.*|claimed_at|expires_at|history_pruned_at)$/

/**
 * @param schemaVersion of the program's own tables: the newest
 * @returns its port, and what ends it
 */
export async function startStandInDatabase(schemaVersion) {
  const server = createServer((socket) => {
    let received = Buffer.alloc(0)
    let isStarted = false
    const scram = scramServer()
    let statement = ''
    let isInTransaction = false
    socket.on('error', () => undefined)
    socket.on('data', (chunk) => {
      received = Buffer.concat([received, chunk])
      for (;;) {
        // Only the first messages have no type.
        const head = isStarted ? 1 : 0
        if (received.length < head + 4) return
        const end = head + received.readInt32BE(head)
        if (received.length < end) return
        const type = isStarted ? String.fromCharCode(received[0]) : ''
        const body = received.subarray(head + 4, end)
        received = received.subarray(end)
        socket.write(Buffer.concat(answer(type, body)))
      }
    })

    function answer(type, body) {
      if (!isStarted) {
        if (body.readInt32BE(0) === sslRequest) return [Buffer.from('N')]
        isStarted = true
        return [message('R', int32(10), cString('SCRAM-SHA-256'), Buffer.from('\0'))]
      }
      switch (type) {
        case 'p': {
          const { code, text, isLast } = scram(body)
          const next = message('R', int32(code), Buffer.from(text))
          return isLast ? [next, message('R', int32(0)), message('K', int32(1), int32(1)), ready()] : [next]
        }
        case 'Q': {
          const texts = textAt(body, 0).split(/;\s*/).filter(Boolean)
          return [...texts.flatMap((text) => [...described(text), ...executed(text)]), ready()]
        }
        case 'P':
          statement = textAt(body, body.indexOf(0) + 1)
          return [message('1')]
        case 'B':
          return [message('2')]
        case 'D': {
          const description = described(statement)
          return description.length === 0 ? [message('n')] : description
        }
        case 'E':
          return executed(statement)
        case 'S':
          return [ready()]
        default:
          return []
      }
    }

    function described(text) {
      const columns = columnsOf(text)
      if (columns.length === 0) return []
      const fields = columns.map(({ name, type }) => [
        cString(name),
        int32(0),
        int16(0),
        int32(type),
        int16(-1),
        int32(-1),
        int16(0),
      ])
      return [message('T', int16(columns.length), ...fields.flat())]
    }

    function executed(text) {
      const [keyword] = /\w+/.exec(text.toLowerCase())
      if (keyword === 'begin') isInTransaction = true
      if (keyword === 'commit' || keyword === 'rollback') isInTransaction = false
      const columns = columnsOf(text)
      const tag =
        keyword === 'insert'
          ? 'INSERT 0 1'
          : ['update', 'delete', 'select', 'with'].includes(keyword)
            ? `${keyword.toUpperCase()} 1`
            : keyword.toUpperCase()
      const done = message('C', cString(tag))
      if (/\bfrom\s+pg_catalog\./i.test(text) || columns.every(({ value }) => value === null)) return [done]
      const cells = columns.flatMap(({ value }) =>
        value === null ? [int32(-1)] : [int32(Buffer.byteLength(value)), Buffer.from(value)],
      )
      return [message('D', int16(columns.length), ...cells), done]
    }

    const ready = () => message('Z', Buffer.from(isInTransaction ? 'T' : 'I'))
  })

  function columnsOf(text) {
    return outputNames(text).map(({ name, expression }) => {
      if (expression.includes('json_agg')) return { name, type: types.json, value: '[]' }
      if (name === 'schema_version') return { name, type: types.int4, value: String(schemaVersion) }
      const isOfTask = /"(task|claim|pause)"\."\w+"|history_pruned_at/.test(expression) && absentTask.test(name)
      const known = isOfTask ? undefined : values.find((each) => each.name.test(name))
      return known === undefined
        ? { name, type: types.text, value: null }
        : { name, type: known.type, value: known.value() }
    })
  }

  await new Promise((resolve) => {
    server.listen(0, '127.0.0.1', resolve)
  })
  return { port: server.address().port, close: () => server.close() }
}

/**
 * The server's half of SCRAM, which is how most servers ask for a password. It believes every client, but has to prove that it knows the password.
 * https://www.rfc-editor.org/rfc/rfc5802#section-3
 */
function scramServer() {
  const salt = Buffer.from('stand-in')
  const iterations = 1
  let clientFirst = ''
  let serverFirst = ''
  return (body) => {
    if (clientFirst === '') {
      const [, bare, nonce] = /n,,(n=[^,]*,r=(.*))$/s.exec(body.toString())
      clientFirst = bare
      serverFirst = `r=${nonce}stand-in,s=${salt.toString('base64')},i=${iterations}`
      return { code: 11, text: serverFirst, isLast: false }
    }
    const [withoutProof] = body.toString().split(',p=')
    const salted = pbkdf2Sync('password', salt, iterations, 32, 'sha256')
    const serverKey = createHmac('sha256', salted).update('Server Key').digest()
    const signature = createHmac('sha256', serverKey)
      .update([clientFirst, serverFirst, withoutProof].join())
      .digest('base64')
    return { code: 12, text: `v=${signature}`, isLast: true }
  }
}

/** The columns of a SELECT, or of RETURNING at the end of a statement. */
function outputNames(text) {
  const flat = withoutParentheses(text)
  const list =
    /^\s*select\s+(.*?)(?:\s+from\s.*)?$/is.exec(flat.text)?.[1] ?? /\sreturning\s+(.*)$/is.exec(flat.text)?.[1]
  if (list === undefined) return []
  return list.split(',').map((item) => {
    const name = /(?:\sas\s+)?"?(\w+)"?\s*$/i.exec(item)?.[1] ?? 'column'
    return { name, expression: item.replace(/\0(\d+)\0/g, (_, index) => flat.inside[Number(index)]) }
  })
}

/** What is in parentheses is replaced by its number, so that commas and keywords are those of the statement itself. */
function withoutParentheses(text) {
  const inside = []
  let depth = 0
  let start = 0
  let flat = ''
  for (const [index, character] of [...text].entries()) {
    if (character === '(' && depth++ === 0) start = index
    if (depth === 0) flat += character
    if (character === ')' && --depth === 0) flat += `\0${inside.push(text.slice(start, index + 1)) - 1}\0`
  }
  return { text: flat.trim(), inside }
}

function message(type, ...parts) {
  const body = Buffer.concat(parts)
  return Buffer.concat([Buffer.from(type), int32(body.length + 4), body])
}

function int32(value) {
  const bytes = Buffer.alloc(4)
  bytes.writeInt32BE(value)
  return bytes
}

function int16(value) {
  const bytes = Buffer.alloc(2)
  bytes.writeInt16BE(value)
  return bytes
}

const cString = (text) => Buffer.from(`${text}\0`)

function textAt(body, start) {
  return body.toString('utf8', start, body.indexOf(0, start))
}
