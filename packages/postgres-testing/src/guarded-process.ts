/**
 * A server process that cannot outlive us. Between us and the server stands a small shell that holds the reading end of a pipe:
 * when we end, however that happens (SIGKILL included), the pipe closes, and the shell stops the server and removes its folder.
 * It runs in a session of its own, so Ctrl-C in a terminal reaches us and not the server.
 */
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'

/**
 * Arguments: folder, signal that stops the server, preparing command, then the server's own command. Nothing happens before a first line
 * comes through the pipe. A server that ignores its signal for ten seconds is killed. What runs in the background holds none of our pipes, so that their end means the guard's end.
 */
const guardScript = `
folder=$1; stop=$2; prepare=$3; shift 3
trap '' INT TERM HUP
exec 3<&0 </dev/null >"$folder/server.log" 2>&1
cd "$folder" || exit 1
if read -r _ <&3 && sh -c "$prepare"; then
  "$@" 3<&- 4>&- & server=$!
  (
    exec 4>&-
    read -r _ <&3
    kill -s "$stop" $server
    tenths=100
    while [ $tenths -gt 0 ] && kill -0 $server; do sleep 0.1; tenths=$((tenths - 1)); done
    kill -s KILL $server
  ) 2>/dev/null & watcher=$!
  exec 3<&-
  wait $server; code=$?
  kill -s KILL $watcher 2>/dev/null
else
  code=1
fi
tail -c 4000 "$folder/server.log" >&4
cd /
rm -rf "$folder" || { sleep 1; rm -rf "$folder"; }
exit $code
`

export interface GuardedProcess {
  /** Lets the server start, once its folder holds what it needs. */
  begin(): void
  /** Ends with the server's own last words when it ended by itself. */
  readonly ended: Promise<{ readonly code: number | null; readonly log: string }>
  /** Stops the server and removes its folder; resolves when both are gone. */
  stop(): Promise<void>
}

export interface GuardedCommand {
  /** Made by the caller and writable by the user below; removed when the server ends. */
  readonly folder: string
  readonly stopSignal: 'QUIT' | 'INT' | 'TERM'
  /** A shell command that must succeed before the server starts. */
  readonly prepare?: string
  readonly command: readonly string[]
  /** Who runs it. Absent: ourselves. */
  readonly user?: { readonly uid: number; readonly gid: number }
}

export function startGuarded({ folder, stopSignal, prepare = 'true', command, user }: GuardedCommand): GuardedProcess {
  const child: ChildProcess = spawn('/bin/sh', ['-c', guardScript, 'sh', folder, stopSignal, prepare, ...command], {
    stdio: ['pipe', 'ignore', 'ignore', 'ignore', 'pipe'],
    detached: true,
    cwd: folder,
    ...user,
  })
  const { stdin } = child
  const lastWords = child.stdio[4]
  if (stdin === null || !lastWords || !('on' in lastWords)) throw new Error('the guard of a test server has no pipes')
  let log = ''
  lastWords.on('data', (chunk: Buffer) => {
    log += chunk.toString('utf8')
  })
  const ended = once(child, 'close').then(([code]) => ({ code: code as number | null, log }))
  // Without these, the pipes would keep a finished test process alive. 'error' follows when the guard is already gone.
  stdin.on('error', () => undefined)
  for (const handle of [child, stdin, lastWords]) (handle as { unref?: () => void }).unref?.()
  return {
    ended,
    begin() {
      stdin.write('begin\n')
    },
    async stop() {
      child.ref()
      ;(lastWords as { ref?: () => void }).ref?.()
      stdin.end()
      await ended
    },
  }
}
