// The job graph as boxes and lines.

import dagre from '@dagrejs/dagre'
import type { Job } from './types'

export interface Box {
  job: Job
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
  const known = new Set(jobs.map((j) => j.id))
  for (const j of jobs) g.setNode(j.id, { width: boxWidth, height: boxHeight })
  const edges: { from: string; to: string; soft: boolean }[] = []
  for (const j of jobs)
    for (const d of j.depends ?? [])
      if (known.has(d.job)) {
        g.setEdge(d.job, j.id)
        edges.push({ from: d.job, to: j.id, soft: d.soft ?? false })
      }
  dagre.layout(g)
  const boxes = jobs.map((job) => {
    const n = g.node(job.id)
    return { job, x: n.x - boxWidth / 2, y: n.y - boxHeight / 2, w: boxWidth, h: boxHeight }
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

/** hasEdges: without any, a picture of the graph would say nothing. */
export function hasEdges(jobs: Job[]): boolean {
  return jobs.some((j) => (j.depends ?? []).length > 0)
}
