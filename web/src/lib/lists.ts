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
    columns: ['Node', 'Label', 'Provider', 'State', 'Since', 'Comment'],
    none: 'There is no node now. They are made when jobs ask for them.',
    rows: (a: { id: string; label: string; provider: string; state: string; state_time: number; comment: string }[], _, now) =>
      a.map((n) => [plain(n.id), plain(n.label), plain(n.provider), plain(n.state), soft(duration(now - n.state_time * 1000)), soft(n.comment)]),
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

