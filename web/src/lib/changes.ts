// Changes of the built-in forge.

import type { Change } from './types'
import type { Word } from './words'

export const statuses = [
  ['NEW', 'Open'],
  ['MERGED', 'Merged'],
  ['ABANDONED', 'Abandoned'],
] as const

export function changeWord(c: Pick<Change, 'status' | 'wip'>): Word {
  if (c.status === 'MERGED') return { icon: '✓', word: 'merged', tone: 'good' }
  if (c.status === 'ABANDONED') return { icon: '–', word: 'abandoned', tone: 'mute' }
  return c.wip ? { icon: '◌', word: 'in work', tone: 'wait' } : { icon: '○', word: 'open', tone: 'run' }
}

export const title = (c: Pick<Change, 'current'>): string => c.current.message.split('\n')[0] ?? ''

/** votes sums up what each label has: what is against it counts before what is for it, as it does in the gate. */
export function votes(c: Pick<Change, 'votes'>): { label: string; value: number; text: string; word: Word }[] {
  const worst = new Map<string, number>()
  for (const v of c.votes ?? []) {
    const have = worst.get(v.label) ?? 0
    worst.set(v.label, v.value < 0 || have < 0 ? Math.min(have, v.value) : Math.max(have, v.value))
  }
  return [...worst].filter(([, value]) => value !== 0).sort(([a], [b]) => a.localeCompare(b)).map(([label, value]) => ({
    label,
    value,
    text: `${label} ${value > 0 ? '+' : '−'}${Math.abs(value)}`,
    word: { icon: value > 0 ? '✓' : '✕', word: `${label} ${value > 0 ? '+' : '−'}${Math.abs(value)}`, tone: value > 0 ? 'good' : 'bad' },
  }))
}

/** matches tells whether a change fits a search. */
export function matches(c: Change, search: string): boolean {
  const text = [c.number, c.project, c.branch, c.owner, c.topic, title(c)].join(' ').toLowerCase()
  return search.toLowerCase().split(/\s+/).filter(Boolean).every((w) => text.includes(w))
}

export interface DiffLine {
  text: string
  kind: 'add' | 'del' | 'file' | 'hunk' | 'same'
}

/** diff tells the lines of a diff apart; a file begins with some of its own. */
export function diff(text: string): DiffLine[] {
  let head = true
  return text.replace(/\n$/, '').split('\n').map((l): DiffLine => {
    if (l.startsWith('diff ')) head = true
    if (l.startsWith('@@')) {
      head = false
      return { text: l, kind: 'hunk' }
    }
    if (head) return { text: l, kind: 'file' }
    return { text: l, kind: l[0] === '+' ? 'add' : l[0] === '-' ? 'del' : 'same' }
  })
}
