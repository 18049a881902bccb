// The live view of a tenant: a snapshot, then deltas.

import type { Item, LiveEvent, Pipeline } from './types'

export interface Live {
  version: string
  /** skew is how far the server's clock is ahead of ours, in milliseconds. */
  skew: number
  pipelines: Map<string, Pipeline>
  items: Map<string, Item>
}

export function empty(): Live {
  return { version: '', skew: 0, pipelines: new Map(), items: new Map() }
}

/** apply gives the view after an event; what did not change stays the same object. */
export function apply(live: Live, ev: LiveEvent, ourNow: number): Live {
  const next: Live = {
    version: ev.version,
    skew: Date.parse(ev.now) - ourNow,
    pipelines: ev.snapshot ? new Map() : new Map(live.pipelines),
    items: ev.snapshot ? new Map() : new Map(live.items),
  }
  for (const p of ev.pipelines ?? []) next.pipelines.set(p.name, p)
  for (const i of ev.items ?? []) next.items.set(i.id, i)
  for (const n of ev.gone_pipelines ?? []) next.pipelines.delete(n)
  for (const n of ev.gone_items ?? []) next.items.delete(n)
  return next
}

/** ordered are the pipelines in the order in which a change meets them; those at work are not moved. */
export function ordered(live: Live): Pipeline[] {
  return [...live.pipelines.values()].sort((a, b) => a.position - b.position || a.name.localeCompare(b.name))
}

/** count is how many items of a pipeline have jobs of their own. */
export function count(live: Live, p: Pipeline): number {
  let n = 0
  for (const q of p.queues) for (const id of q.items) if (live.items.get(id)?.live) n++
  return n
}

/** matches tells whether an item fits a search: every word in some project, change, title, branch or owner. */
export function matches(item: Item, search: string): boolean {
  const words = search.toLowerCase().split(/\s+/).filter(Boolean)
  if (!words.length) return true
  const text = item.refs.map((r) => [r.project, r.id, r.title, r.branch, r.owner].join(' ')).join(' ').toLowerCase() + ' ' + item.pipeline
  return words.every((w) => text.includes(w))
}

/** find is the item that a buildset belongs to, while it is in its pipeline. */
export function find(live: Live, buildset: string): Item | undefined {
  for (const i of live.items.values()) if (i.buildset === buildset) return i
  return undefined
}

/** pause is how long events are gathered before the page is drawn anew, in milliseconds. */
const pause = 100

/** Stream follows a tenant with the one EventSource of the page. */
export class Stream {
  private source?: EventSource
  private live = empty()
  private timer?: ReturnType<typeof setTimeout>
  private again?: ReturnType<typeof setTimeout>

  constructor(
    private tenant: string,
    private onChange: (l: Live) => void,
    private onState: (connected: boolean, closed: boolean) => void,
  ) {
    this.open()
  }

  private open(): void {
    const after = this.live.version ? `?last-event-id=${encodeURIComponent(this.live.version)}` : ''
    const source = new EventSource(`/api/tenant/${encodeURIComponent(this.tenant)}/events${after}`)
    this.source = source
    source.onopen = () => this.onState(true, false)
    source.onerror = () => {
      // A browser comes back by itself after a lost connection, and never after an answer that was an error.
      const closed = source.readyState === 2
      this.onState(false, closed)
      if (closed) this.again = setTimeout(() => this.open(), 2000)
    }
    source.onmessage = (m) => {
      const first = this.live.version === ''
      this.live = apply(this.live, JSON.parse(m.data as string) as LiveEvent, Date.now())
      if (first) this.onChange(this.live)
      else this.timer ??= setTimeout(() => this.tell(), pause)
    }
  }

  private tell(): void {
    this.timer = undefined
    this.onChange(this.live)
  }

  close(): void {
    this.source?.close()
    clearTimeout(this.timer)
    clearTimeout(this.again)
  }
}
