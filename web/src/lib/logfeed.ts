// Reading a build's log: ranges as they come into view, and what is new as it comes.

import { ask } from './fetch'
import { chunk, Lines, split, type Window } from './loglines'
import type { LogLines } from './types'

export class LogFeed {
  readonly lines = new Lines()
  private stop = new AbortController()
  private asked = new Set<number>()

  constructor(
    private build: string,
    private onChange: () => void,
  ) {}

  /** start reads the end of the log, so that its length is known, and follows it until it is done. */
  async start(): Promise<void> {
    const first = await this.range(0, 1)
    this.take(first)
    if (!first.done) void this.follow()
  }

  close(): void {
    this.stop.abort()
  }

  /** need asks for what a window shows and is not here. */
  need(w: Window): void {
    for (const from of this.lines.missing(w)) {
      if (this.asked.has(from)) continue
      this.asked.add(from)
      this.range(from, chunk)
        .then((l) => this.take(l))
        .catch(() => undefined) // asked again when the window moves
        .finally(() => this.asked.delete(from))
    }
  }

  private range(from: number, n: number): Promise<LogLines> {
    return ask<LogLines>(`/api/build/${this.build}/log?from=${from}&n=${n}`, this.stop.signal)
  }

  private take(l: LogLines): void {
    this.lines.total = Math.max(this.lines.total, l.total)
    this.lines.add(l.from, l.lines)
    this.lines.done ||= l.done
    this.onChange()
  }

  /** follow reads new lines until the log is done; a broken connection goes on where it stopped. */
  private async follow(): Promise<void> {
    while (!this.lines.done && !this.stop.signal.aborted) {
      try {
        await this.read()
      } catch {
        await new Promise((r) => setTimeout(r, 1000))
      }
    }
  }

  private async read(): Promise<void> {
    const r = await fetch(`/api/build/${this.build}/log/stream?from=${this.lines.total}`, { signal: this.stop.signal })
    if (!r.ok || !r.body) throw new Error(r.statusText)
    const reader = r.body.pipeThrough(new TextDecoderStream()).getReader()
    for (let text = ''; ; ) {
      const { value, done } = await reader.read()
      if (done) return
      const { whole, rest } = split(text + value)
      text = rest
      for (const line of whole) this.take(JSON.parse(line) as LogLines)
    }
  }
}
