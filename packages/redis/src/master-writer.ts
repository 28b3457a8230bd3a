/** What writes to one server: its reader, and the few commands that change something. */
import type { ExpireCondition, RedisChange, RedisMasterReader, RedisMasterWriter } from './contract.js'
import type { Command, Link } from './link.js'
import type { Counter } from './master-reader.js'
import { explain, explainDriver, type Where } from './redis-error.js'

/** Keys of one UNLINK, and commands of one pipeline that writes. */
const batchLength = 100
/** Keys that one transaction watches: the more, the likelier that one of them is touched and all of them wait for a second attempt. */
const keysPerTransaction = 50

export function masterWriter(
  link: Link,
  reader: RedisMasterReader,
  isCluster: boolean,
  where: Where,
  counter: Counter,
): Readonly<RedisMasterWriter> {
  // WATCH belongs to the connection: two at the same time would act on each other's.
  let before: Promise<unknown> = Promise.resolve()
  const inTurn = <T>(work: () => Promise<T>): Promise<T> => {
    const result = before.then(work)
    before = result.catch(() => undefined)
    return result
  }

  /** Numbers that the commands reply; keys that moved to another master count as 0, for the next walk finds them there. */
  const send = async (commands: readonly Command[]): Promise<readonly number[]> => {
    const numbers: number[] = []
    for (let start = 0; start < commands.length; start += batchLength) {
      const batch = commands.slice(start, start + batchLength)
      counter.sent += batch.length
      const replies = await link.sendAll(batch).catch((error: unknown) => {
        throw explain(error, where, batch[0]?.[0])
      })
      for (const [index, reply] of replies.entries()) numbers.push(numberOf(reply, batch[index]?.[0]))
    }
    return numbers
  }

  const numberOf = (reply: unknown, command: string | undefined): number => {
    if (!(reply instanceof Error)) return typeof reply === 'number' ? reply : 0
    const error = explainDriver(reply, where, command)
    if (error.code === 'redis-moved') return 0
    throw error
  }

  /** The command for all of the keys, or in a cluster one for each: together they may cross slots. */
  const each = (name: string, keys: readonly string[]): readonly Command[] =>
    isCluster
      ? keys.map((key): Command => [name, key])
      : batches(keys, batchLength).map((batch): Command => [name, ...batch])

  const watch = async (keys: readonly string[]) => {
    await send(each('watch', keys))
  }

  const transaction = async (
    watched: readonly string[],
    decide: Parameters<RedisMasterWriter['changeUnlessTouched']>[1],
  ) => {
    try {
      await watch(watched)
      const changes = await decide(watch)
      if (changes.length === 0) {
        await send([['unwatch']])
        return 0
      }
      const commands = [...each('unlink', keysToUnlink(changes)), ...changes.flatMap(commandOf)]
      counter.sent += commands.length + 2
      const replies = await link.transaction(commands).catch((error: unknown) => {
        const explained = explain(error, where, commands[0]?.[0])
        if ((explained as { code?: unknown }).code === 'redis-moved') return null
        throw explained
      })
      return replies === null ? undefined : sum(replies.map((reply, index) => numberOf(reply, commands[index]?.[0])))
    } catch (error) {
      await link.sendAll([['unwatch']]).catch(() => undefined)
      throw error
    }
  }

  return Object.freeze({
    ...reader,
    keysPerTransaction: isCluster ? 1 : keysPerTransaction,
    unlink: async (keys: readonly string[]) => sum(await inTurn(() => send(each('unlink', keys)))),
    pexpire: async (keys: readonly string[], ttlMs: number, condition?: ExpireCondition) => {
      const more = condition === undefined ? [] : [condition]
      return sum(await inTurn(() => send(keys.map((key) => ['pexpire', key, ttlMs, ...more]))))
    },
    changeUnlessTouched: (...watchedAndDecide: Parameters<RedisMasterWriter['changeUnlessTouched']>) =>
      inTurn(() => transaction(...watchedAndDecide)),
    evaluate: (script: string, keys: readonly string[], args: readonly string[]) =>
      inTurn(async () => {
        counter.sent += 1
        const [reply] = await link
          .sendAll([['eval', script, keys.length, ...keys, ...args]])
          .catch((error: unknown) => {
            throw explain(error, where, 'eval')
          })
        if (reply instanceof Error) throw explain(reply, where, 'eval')
        return reply
      }),
  })
}

function keysToUnlink(changes: readonly RedisChange[]): readonly string[] {
  return changes.filter((change) => change.kind === 'unlink').map(({ key }) => key)
}

/** All changes but UNLINK, which takes many keys at once. */
function commandOf(change: RedisChange): readonly Command[] {
  switch (change.kind) {
    case 'unlink':
      return []
    case 'pexpire':
      return [['pexpire', change.key, change.ttlMs]]
    case 'evaluate':
      return [['eval', change.script, change.keys.length, ...change.keys, ...change.args]]
  }
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0)
}

function batches<T>(items: readonly T[], length: number): readonly (readonly T[])[] {
  return Array.from({ length: Math.ceil(items.length / length) }, (_, index) =>
    items.slice(index * length, (index + 1) * length),
  )
}
