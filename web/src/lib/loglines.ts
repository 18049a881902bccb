// A log as a window over lines that are fetched when they come into view.

export const lineHeight = 20
/** A chunk is what one request brings. */
export const chunk = 500
/** Chunks kept: a log of any length costs the page the same. */
const most = 60

export interface Window {
  first: number
  last: number // exclusive
}

/** visible tells which lines to draw for a scroll position, with some more on both sides. */
export function visible(scrollTop: number, height: number, total: number, extra = 30): Window {
  const first = Math.max(0, Math.floor(scrollTop / lineHeight) - extra)
  return { first: Math.min(first, total), last: Math.min(total, Math.ceil((scrollTop + height) / lineHeight) + extra) }
}

/** atEnd: the last line can be seen, so following goes on. */
export function atEnd(scrollTop: number, height: number, total: number): boolean {
  return scrollTop + height >= total * lineHeight - lineHeight
}

/** Lines remembers chunks and knows which are missing. */
export class Lines {
  total = 0
  done = false
  private chunks = new Map<number, string[]>()

  /** add takes lines from an index on, wherever the borders of chunks are. */
  add(from: number, lines: string[]): void {
    for (let i = 0; i < lines.length; ) {
      const line = from + i
      const index = Math.floor(line / chunk)
      const offset = line % chunk
      const part = lines.slice(i, i + chunk - offset)
      const have = this.chunks.get(index) ?? []
      if (have.length >= offset) {
        this.chunks.delete(index) // the newest goes to the end: the oldest used is dropped first
        this.chunks.set(index, [...have.slice(0, offset), ...part, ...have.slice(offset + part.length)])
      }
      i += part.length
    }
    this.total = Math.max(this.total, from + lines.length)
    while (this.chunks.size > most) this.chunks.delete(this.chunks.keys().next().value!)
  }

  at(line: number): string | undefined {
    return this.chunks.get(Math.floor(line / chunk))?.[line % chunk]
  }

  /** missing lists the chunks of a window whose lines are not all here, by their first line. */
  missing(w: Window): number[] {
    const out: number[] = []
    for (let index = Math.floor(w.first / chunk); index * chunk < w.last; index++) {
      const need = Math.min(chunk, this.total - index * chunk)
      if ((this.chunks.get(index)?.length ?? 0) < need) out.push(index * chunk)
    }
    return out
  }
}

/** split takes JSON lines out of a stream's text; the rest is an unfinished one. */
export function split(text: string): { whole: string[]; rest: string } {
  const parts = text.split('\n')
  const rest = parts.pop() ?? ''
  return { whole: parts.filter((p) => p !== ''), rest }
}
