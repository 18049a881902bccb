// Who had a lock when, as lanes on an axis that ends now.

import { ticks } from './gantt'
import { duration, parse } from './time'
import type { Lock } from './types'

export interface Bar {
  /** 0..1 of the axis. */
  from: number
  to: number
  label: string
  /** held: nobody has given it back yet. */
  held: boolean
}

export interface Lanes {
  rows: { pipeline: string; bars: Bar[]; held: number }[]
  ticks: { at: number; label: string }[]
  span: number
}

/** lanes puts every time that a lock was held into the lane of its pipeline. */
export function lanes(l: Lock, now: number): Lanes {
  const all = l.past.map((h) => ({ pipeline: h.pipeline, from: parse(h.from)!, to: parse(h.to)!, held: false }))
  if (l.holder) all.push({ pipeline: l.holder.pipeline, from: parse(l.holder.since)!, to: now, held: true })
  const first = Math.min(now, ...all.map((h) => h.from))
  const span = now - first
  const names = [...new Set([...l.pipelines.map((p) => p.pipeline), ...all.map((h) => h.pipeline)])]
  const rows = names.map((pipeline) => {
    const own = all.filter((h) => h.pipeline === pipeline)
    return {
      pipeline,
      held: own.reduce((n, h) => n + h.to - h.from, 0),
      bars: span > 0 ? own.map((h) => ({ from: (h.from - first) / span, to: (h.to - first) / span, label: `${duration(h.to - h.from)}, ${h.held ? 'until now' : `ended ${duration(now - h.to)} ago`}`, held: h.held })) : [],
    }
  })
  const marks = span > 0 ? ticks(span).map((t) => ({ at: 1 - t.at, label: t.at ? `${t.label} ago` : 'now' })) : []
  return { rows, ticks: marks.reverse(), span }
}

/** percent is a share in words; what is not nothing is not told as nothing. */
export const percent = (x: number): string => (x > 0 && x < 0.01 ? 'under 1 %' : `${Math.round(x * 100)} %`)
