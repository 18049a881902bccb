// Pages that are one table: where the rows come from, and what stands in the columns.

import { duration } from './time'

export interface Cell {
  text: string
  href?: string
  soft?: boolean
}

export interface ListPage {
  title: string
  path: (tenant: string) => string
  rows: (answer: any, tenant: string, now: number) => Cell[][]
  columns: string[]
  none: string
}

const t = (tenant: string, rest: string) => `/api/tenant/${encodeURIComponent(tenant)}/${rest}`
const plain = (text: unknown): Cell => ({ text: text === undefined || text === null ? '' : String(text) })
const soft = (text: unknown): Cell => ({ ...plain(text), soft: true })

interface Node {
  id: string
  label: string
  provider: string
  state: string
  state_time: number
  made: number
  job?: string
  build?: string
  host?: string
  port?: number
  user?: string
  comment: string
  hold_until?: number
}

interface Hold {
  id: string
  job: string
  project: string
  ref_filter: string
  current_count: number
  max_count: number
  reason: string
  nodes: { build: string; nodes: string[] }[]
}

const marks: Record<string, string> = { building: '◌', testing: '◌', ready: '○', 'in-use': '●', used: '◌', hold: '‖', deleting: '✕', failed: '✕' }

/** nodeState is a state with its mark, so that the eye finds held nodes. */
export const nodeState = (state: string): string => `${marks[state] ?? '·'} ${state}`

/** nodeNote says why a node is held, for how long, and how one gets in. */
export function nodeNote(n: { id: string; state: string; comment: string; hold_until?: number }, now: number): string {
  const first = n.comment.split('\n')[0] ?? ''
  if (n.state !== 'hold') return first
  const until = n.hold_until ? `ends in ${duration(n.hold_until * 1000 - now)}` : ''
  return [first, until, `gozer nodes ssh ${n.id}`].filter(Boolean).join(' · ')
}

export const lists: Record<string, ListPage> = {
  jobs: {
    title: 'Jobs',
    path: (x) => t(x, 'jobs'),
    columns: ['Job', 'Description', 'Parent', 'Variants'],
    none: 'No job is declared, or the configuration has not been read yet.',
    rows: (a: { name: string; description: string; variants: { parent: string }[] }[], tenant) =>
      a.map((j) => [
        { text: j.name, href: `/t/${encodeURIComponent(tenant)}/builds?job_name=${encodeURIComponent(j.name)}` },
        soft(j.description),
        plain(j.variants[0]?.parent),
        plain(j.variants.length),
      ]),
  },
  projects: {
    title: 'Projects',
    path: (x) => t(x, 'projects'),
    columns: ['Project', 'Connection', 'Type'],
    none: 'No project is configured, or the configuration has not been read yet.',
    rows: (a: { name: string; connection_name: string; type: string }[], tenant) =>
      a.map((p) => [
        { text: p.name, href: `/t/${encodeURIComponent(tenant)}/buildsets?project=${encodeURIComponent(p.name)}` },
        plain(p.connection_name),
        soft(p.type),
      ]),
  },
  'config-errors': {
    title: 'Configuration errors',
    path: (x) => t(x, 'config-errors?limit=500'),
    columns: ['Severity', 'Where', 'What'],
    none: 'The configuration has no errors.',
    rows: (a: { severity: string; source_context?: { project: string; branch: string; path: string }; line?: number; short_error: string; error: string }[]) =>
      a.map((e) => [
        plain(`${e.severity === 'warning' ? '▲ warning' : '✕ ' + (e.severity || 'error')}`),
        soft(e.source_context ? `${e.source_context.project} ${e.source_context.path}${e.line ? ':' + e.line : ''} (${e.source_context.branch})` : ''),
        plain(e.error || e.short_error),
      ]),
  },
  nodes: {
    title: 'Nodes',
    path: (x) => t(x, 'nodes'),
    columns: ['Node', 'Label', 'Provider', 'State', 'For', 'Age', 'Used by', 'Address', 'Note'],
    none: 'There is no node now. They are made when jobs ask for them.',
    rows: (a: Node[], tenant, now) =>
      a.map((n) => [
        plain(n.id),
        plain(n.label),
        soft(n.provider),
        plain(nodeState(n.state)),
        soft(duration(now - n.state_time * 1000)),
        soft(duration(now - n.made * 1000)),
        n.build ? { text: n.job || n.build.slice(0, 8), href: `/t/${encodeURIComponent(tenant)}/build/${n.build}` } : plain(n.job),
        soft(n.host ? `${n.user ? n.user + '@' : ''}${n.host}${n.port && n.port !== 22 ? ':' + n.port : ''}` : ''),
        soft(nodeNote(n, now)),
      ]),
  },
  autoholds: {
    title: 'Holds',
    path: (x) => t(x, 'autohold'),
    columns: ['Hold', 'Job', 'Project', 'Refs', 'Failures', 'Nodes', 'Reason'],
    none: 'Nothing is to be held. gozer autohold keeps the nodes of the next failure of a job.',
    rows: (a: Hold[], tenant) =>
      a.map((h) => [
        plain(h.id),
        { text: h.job, href: `/t/${encodeURIComponent(tenant)}/builds?job_name=${encodeURIComponent(h.job)}` },
        plain(h.project),
        soft(h.ref_filter === '.*' ? 'any' : h.ref_filter),
        plain(`${h.current_count} of ${h.max_count}`),
        plain(h.nodes.flatMap((n) => n.nodes).join(', ') || 'none yet'),
        soft(h.reason),
      ]),
  },
  semaphores: {
    title: 'Semaphores',
    path: (x) => t(x, 'semaphores'),
    columns: ['Semaphore', 'Held', 'By'],
    none: 'No semaphore is declared or held.',
    rows: (a: { name: string; global: boolean; max: number; holders: { count: number; this_tenant: { job_name: string; buildset_uuid: string }[]; other_tenants: number } }[]) =>
      a.map((s) => [
        plain(s.name + (s.global ? ' (global)' : '')),
        plain(`${s.holders.count} of ${s.max}`),
        soft([...s.holders.this_tenant.map((h) => h.job_name), ...(s.holders.other_tenants ? [`${s.holders.other_tenants} in other tenants`] : [])].join(', ')),
      ]),
  },
  components: {
    title: 'Components',
    path: () => '/api/components',
    columns: ['Role', 'Host', 'State', 'Version', 'Holds'],
    none: 'No process has joined.',
    rows: (a: Record<string, { hostname: string; state: string; version: string; owns?: string[] }[]>) =>
      Object.entries(a).flatMap(([role, list]) => list.map((c) => [plain(role), plain(c.hostname), plain(c.state), soft(c.version), soft((c.owns ?? []).join(', '))])),
  },
}

/** search keeps rows in which every word stands somewhere. */
export function search(rows: Cell[][], words: string): Cell[][] {
  const want = words.toLowerCase().split(/\s+/).filter(Boolean)
  return rows.filter((r) => {
    const text = r.map((c) => c.text).join(' ').toLowerCase()
    return want.every((w) => text.includes(w))
  })
}

