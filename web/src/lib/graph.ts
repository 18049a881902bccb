// The job graph as boxes and lines.

import dagre from '@dagrejs/dagre'
import type { Job } from './types'
import { brief } from './words'

export interface Box {
  job: Job
  /** The job's name without what all names of the graph begin with. */
  label: string
  x: number
  y: number
  w: number
  h: number
}

export interface Line {
  path: string
  soft: boolean
  critical: boolean
}

export interface Drawing {
  width: number
  height: number
  boxes: Box[]
  lines: Line[]
}

export const boxWidth = 176
export const boxHeight = 44

/** draw lays the jobs out from left to right, parents before children. */
export function draw(jobs: Job[], critical: string[] = []): Drawing {
  const g = new dagre.graphlib.Graph()
  g.setGraph({ rankdir: 'LR', nodesep: 14, ranksep: 46, marginx: 6, marginy: 6 })
  g.setDefaultEdgeLabel(() => ({}))
  for (const j of jobs) g.setNode(j.id, { width: boxWidth, height: boxHeight })
  const edges = reduced(jobs)
  for (const e of edges) g.setEdge(e.from, e.to)
  const names = brief(jobs.map((j) => j.name))
  dagre.layout(g)
  const boxes = jobs.map((job, i) => {
    const n = g.node(job.id)
    return { job, label: names[i]!, x: n.x - boxWidth / 2, y: n.y - boxHeight / 2, w: boxWidth, h: boxHeight }
  })
  const place = new Map(boxes.map((b) => [b.job.id, b]))
  const lines = edges.map((e) => {
    // From the middle of the right side to the middle of the left one; dagre knows the way between.
    const [from, to] = [place.get(e.from)!, place.get(e.to)!]
    const way = [{ x: from.x + from.w, y: from.y + from.h / 2 }, ...between(g.edge(e.from, e.to).points), { x: to.x, y: to.y + to.h / 2 }]
    const at = critical.indexOf(e.to)
    return { path: curve(way), soft: e.soft, critical: at > 0 && critical[at - 1] === e.from }
  })
  const size = g.graph()
  return { width: size.width ?? 0, height: size.height ?? 0, boxes, lines }
}

export interface Edge {
  from: string
  to: string
  soft: boolean
}

/** reduced are the dependencies that no chain of others says already: what a person must see. */
export function reduced(jobs: Job[]): Edge[] {
  const parents = new Map(jobs.map((j) => [j.id, [] as string[]]))
  const all: Edge[] = []
  for (const j of jobs)
    for (const d of j.depends ?? [])
      if (parents.has(d.job)) {
        parents.get(j.id)!.push(d.job)
        all.push({ from: d.job, to: j.id, soft: d.soft ?? false })
      }
  const above = new Map<string, Set<string>>()
  const ancestors = (id: string): Set<string> => {
    let s = above.get(id)
    if (!s) {
      above.set(id, (s = new Set())) // a cycle, which no frozen graph has, would end here
      for (const p of parents.get(id)!) {
        s.add(p)
        for (const a of ancestors(p)) s.add(a)
      }
    }
    return s
  }
  return all.filter((e) => !parents.get(e.to)!.some((p) => p !== e.from && ancestors(p).has(e.from)))
}

/** between are the points by which an edge avoids boxes; between neighbours there is nothing to avoid. */
function between(points: { x: number; y: number }[]): { x: number; y: number }[] {
  return points.length > 3 ? points.slice(1, -1) : []
}

/** curve goes softly through dagre's points. */
export function curve(points: { x: number; y: number }[]): string {
  const [first, ...rest] = points
  if (!first) return ''
  let d = `M${first.x},${first.y}`
  let last = first
  for (const p of rest) {
    const mid = (last.x + p.x) / 2
    d += ` C${mid},${last.y} ${mid},${p.y} ${p.x},${p.y}`
    last = p
  }
  return d
}
