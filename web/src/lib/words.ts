// Icon and word for every state: status is never told by colour alone.

import { duration, parse } from './time'
import type { HistoryRef, Item, Job } from './types'

export type Tone = 'good' | 'bad' | 'run' | 'wait' | 'mute' | 'warn'

export interface Word {
  icon: string
  word: string
  tone: Tone
}

const jobs: Record<string, Word> = {
  waiting: { icon: '·', word: 'waiting', tone: 'wait' },
  queued: { icon: '◷', word: 'queued', tone: 'wait' },
  running: { icon: '▸', word: 'running', tone: 'run' },
  paused: { icon: '‖', word: 'paused', tone: 'run' },
  failing: { icon: '!', word: 'failing', tone: 'bad' },
  success: { icon: '✓', word: 'passed', tone: 'good' },
  failure: { icon: '✕', word: 'failed', tone: 'bad' },
  skipped: { icon: '–', word: 'skipped', tone: 'mute' },
  canceled: { icon: '⊘', word: 'canceled', tone: 'mute' },
}

const items: Record<string, Word> = {
  queued: { icon: '◷', word: 'queued', tone: 'wait' },
  merging: { icon: '»', word: 'merging', tone: 'run' },
  configuring: { icon: '≡', word: 'preparing', tone: 'run' },
  running: { icon: '▸', word: 'running', tone: 'run' },
  failing: { icon: '!', word: 'failing', tone: 'bad' },
  succeeded: { icon: '✓', word: 'passed', tone: 'good' },
  failed: { icon: '✕', word: 'failed', tone: 'bad' },
  problem: { icon: '✕', word: 'problem', tone: 'bad' },
}

export function jobWord(j: Pick<Job, 'state' | 'result' | 'voting'>): Word {
  const w = jobs[j.state] ?? { icon: '?', word: j.state, tone: 'mute' as Tone }
  if (w.tone === 'bad' && !j.voting) return { ...w, tone: 'warn' }
  if (j.state === 'failure' && j.result && j.result !== 'FAILURE') return { ...w, word: j.result.toLowerCase().replaceAll('_', ' ') }
  return w
}

export function itemWord(i: Pick<Item, 'state'>): Word {
  return items[i.state] ?? { icon: '?', word: i.state, tone: 'mute' }
}

export function resultWord(result: string, voting = true): Word {
  const state = { SUCCESS: 'success', SKIPPED: 'skipped', CANCELED: 'canceled', '': 'running' }[result] ?? 'failure'
  return jobWord({ state, result, voting })
}

/** refName is what people call what a build was for: a change with its patch set, a branch, a tag. */
export function refName(r: Pick<HistoryRef, 'change' | 'patchset' | 'ref'>): string {
  return r.change ? `${r.change},${r.patchset}` : r.ref.replace(/^refs\/(heads|tags)\//, '')
}

/** shortPlace is a file in a project, without where the project happened to lie on that host. */
export function shortPlace(place: string): string {
  return place.replace(/^.*\/src\/[^/]+\//, '')
}

/** reason is the sentence that says why a job does not run, where neither its state nor its item's note say it. */
export function reason(j: Job, note = ''): string {
  const telling = ['waiting', 'queued', 'paused', 'skipped', 'canceled'].includes(j.state)
  const why = telling ? (j.why ?? j.waiting ?? '') : ''
  return why === note ? '' : why
}

/** progress is how far a job has come, 0 to 1, or undefined where that cannot be told. */
export function progress(j: Job, now: number): number | undefined {
  if (j.result) return 1
  const start = parse(j.started)
  if (start === undefined) return 0
  if (!j.estimate_ms) return undefined
  return Math.min(0.98, Math.max(0.02, (now - start) / j.estimate_ms))
}

/** timing says in words how long a job has run, and how long it still will. */
export function timing(j: Job, now: number): string {
  const start = parse(j.started)
  if (start === undefined) return ''
  const end = parse(j.ended)
  if (end !== undefined) return duration(end - start)
  const used = duration(now - start)
  if (!j.estimate_ms) return used
  const left = j.estimate_ms - (now - start)
  return left > 0 ? `${used}, ${duration(left)} left` : `${used}, over its usual ${duration(j.estimate_ms)}`
}

/** tally counts jobs by word, in the order of first appearance. */
export function tally(list: Job[]): { w: Word; n: number }[] {
  const out: { w: Word; n: number }[] = []
  for (const j of list) {
    const w = jobWord(j)
    const have = out.find((x) => x.w.word === w.word)
    if (have) have.n++
    else out.push({ w, n: 1 })
  }
  return out
}

/** brief takes away what all of several names begin with, up to a dash. */
export function brief(names: string[]): string[] {
  const [first, ...rest] = names
  if (!first || rest.length < 2) return names
  let n = 0
  while (n < first.length && rest.every((s) => s[n] === first[n])) n++
  n = first.lastIndexOf('-', n - 1) + 1
  return names.map((s) => s.slice(n) || s)
}

/** hasEdges: without any, a picture of the graph would say nothing. */
export function hasEdges(jobs: Job[]): boolean {
  return jobs.some((j) => (j.depends ?? []).length > 0)
}
