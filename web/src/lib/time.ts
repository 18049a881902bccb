// Times and durations for people.

/** duration says how long, in at most two units: "45s", "3m 12s", "2h 5m", "3d 4h". */
export function duration(ms: number): string {
  const s = Math.max(0, Math.round(ms / 1000))
  if (s < 60) return `${s}s`
  const m = Math.floor(s / 60)
  if (m < 60) return s % 60 ? `${m}m ${s % 60}s` : `${m}m`
  const h = Math.floor(m / 60)
  if (h < 24) return m % 60 ? `${h}h ${m % 60}m` : `${h}h`
  const d = Math.floor(h / 24)
  return h % 24 ? `${d}d ${h % 24}h` : `${d}d`
}

/** parse reads a time of the API; Zuul's have no zone and are UTC. Without a time it is undefined. */
export function parse(t: string | null | undefined): number | undefined {
  if (!t) return undefined
  const ms = Date.parse(/(Z|[+-]\d\d:\d\d)$/.test(t) ? t : t + 'Z')
  return Number.isNaN(ms) ? undefined : ms
}

/** ago says how long before now something was. */
export function ago(t: string | null | undefined, now: number): string {
  const ms = parse(t)
  if (ms === undefined) return ''
  return now - ms < 5000 ? 'just now' : `${duration(now - ms)} ago`
}

/** full is all of a moment: day, time and zone of whoever looks, and the same in UTC. */
export function full(t: string | null | undefined): string {
  const ms = parse(t)
  if (ms === undefined) return ''
  const d = new Date(ms)
  const local = d.toLocaleString([], { weekday: 'short', day: 'numeric', month: 'short', year: 'numeric', hour: '2-digit', minute: '2-digit', second: '2-digit', hourCycle: 'h23', timeZoneName: 'short' })
  return `${local} (${d.toISOString().slice(0, 19).replace('T', ' ')} UTC)`
}

/** hms is the local time of day. */
export function hms(t: string | null | undefined): string {
  const ms = parse(t)
  return ms === undefined ? '' : new Date(ms).toLocaleTimeString([], { hour: '2-digit', minute: '2-digit', second: '2-digit', hourCycle: 'h23' })
}

/** clock is the local time of day, with the date where it is not today's. */
export function clock(t: string | null | undefined, now: number): string {
  const ms = parse(t)
  if (ms === undefined) return ''
  const d = new Date(ms)
  return d.toDateString() === new Date(now).toDateString() ? hms(t) : `${d.toLocaleDateString()} ${hms(t)}`
}
