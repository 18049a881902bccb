// The Gantt chart: where each job's bars stand on the axis of time.

import { duration, parse } from './time'
import type { Graph, Job } from './types'

export interface Row {
  job: Job
  /** All in 0..1 of the axis. wait is the time between "could have run" and "ran". */
  wait?: { from: number; to: number }
  bar?: { from: number; to: number }
  /** guess: the bar ends where the job will probably end. */
  guess: boolean
  critical: boolean
  label: string
}

export interface Chart {
  rows: Row[]
  ticks: { at: number; label: string }[]
  /** now stands on the axis while something still runs. */
  now?: number
  span: number
}

/** chart puts the jobs that ran, run, or will run next on one axis, in order of their start. */
export function chart(g: Pick<Graph, 'jobs' | 'critical' | 'live'>, now: number): Chart {
  const times = g.jobs.map((job) => {
    const start = parse(job.started)
    const end = parse(job.ended)
    const running = start !== undefined && end === undefined
    const until = end ?? (running ? Math.max(now, start + (job.estimate_ms ?? 0)) : undefined)
    return { job, queued: parse(job.queued), start, end: until, running }
  })
  const first = Math.min(...times.flatMap((t) => [t.queued, t.start].filter((x) => x !== undefined)))
  const last = Math.max(...times.flatMap((t) => (t.end === undefined ? [] : [t.end])), g.live && Number.isFinite(first) ? now : -Infinity)
  if (!Number.isFinite(first) || last <= first)
    return { rows: times.map((t) => ({ job: t.job, guess: false, critical: false, label: '' })), ticks: [], span: 0 }
  const span = last - first
  const at = (t: number) => Math.min(1, Math.max(0, (t - first) / span))
  const rows = times.map((t): Row => {
    const waited = t.queued !== undefined && t.start !== undefined && t.start > t.queued
    const row: Row = { job: t.job, guess: t.running, critical: (g.critical ?? []).includes(t.job.id), label: '' }
    if (waited) row.wait = { from: at(t.queued!), to: at(t.start!) }
    if (t.start !== undefined && t.end !== undefined) {
      row.bar = { from: at(t.start), to: at(t.end) }
      row.label = duration((t.running ? now : t.end) - t.start)
    } else if (t.queued !== undefined && !t.job.result) row.wait = { from: at(t.queued), to: at(now) }
    return row
  })
  rows.sort((a, b) => begin(a) - begin(b))
  return { rows, ticks: ticks(span), now: g.live && now < last ? at(now) : undefined, span }
}

const begin = (r: Row) => r.bar?.from ?? r.wait?.from ?? 2

const steps = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 28800, 86400].map((s) => s * 1000)

/** ticks stand at round times, at most eight of them. */
export function ticks(span: number): { at: number; label: string }[] {
  const step = steps.find((s) => span / s <= 8) ?? Math.ceil(span / 8 / 86400000) * 86400000
  const out = []
  for (let t = 0; t <= span; t += step) out.push({ at: t / span, label: t === 0 ? '0' : duration(t) })
  return out
}
