// Lists of the past, a page at a time.

export const pageSize = 50

/** apiQuery is the API's query for what the URL asks. */
export function apiQuery(q: URLSearchParams): string {
  const out = new URLSearchParams()
  for (const [k, v] of q) if (k !== 'page' && v) out.append(k, v)
  out.set('limit', String(pageSize))
  out.set('skip', String(pageNumber(q) * pageSize))
  return out.toString()
}

export function pageNumber(q: URLSearchParams): number {
  const n = Number(q.get('page') ?? 0)
  return Number.isInteger(n) && n > 0 ? n : 0
}

/** turned is the query of the page n. */
export function turned(q: URLSearchParams, n: number): string {
  const out = new URLSearchParams(q)
  if (n > 0) out.set('page', String(n))
  else out.delete('page')
  return `?${out}`
}
