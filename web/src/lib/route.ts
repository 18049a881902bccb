// Where one is: the URL holds all of it. The paths are Zuul's, so that links in old comments lead here.

export interface Route {
  tenant: string
  page: string
  id: string
  query: URLSearchParams
  hash: string
}

/** read takes an address apart: /t/<tenant>/<page>/<id...>?query#hash. */
export function read(path: string, search: string, hash: string): Route {
  const query = new URLSearchParams(search)
  const parts = path.split('/').filter(Boolean)
  if (parts[0] !== 't' || !parts[1]) return { tenant: '', page: parts[0] ?? '', id: parts.slice(1).map(decodeURIComponent).join('/'), query, hash }
  let page = parts[2] ?? 'status'
  if (page === 'stream') page = 'build'
  return { tenant: decodeURIComponent(parts[1]), page, id: decodeURIComponent(parts.slice(3).join('/')), query, hash }
}

/** to writes an address. */
export function to(tenant: string, page: string, id = '', query: Record<string, string> = {}): string {
  const q = new URLSearchParams(Object.entries(query).filter(([, v]) => v !== '')).toString()
  return `/t/${encodeURIComponent(tenant)}/${page}${id ? '/' + encodeURIComponent(id) : ''}${q ? '?' + q : ''}`
}

/** changeOf is the id of the change to which an address of the built-in forge leads, as reports have it. */
export function changeOf(path: string): string | undefined {
  const m = /^\/forge\/([^/]+)\/c\/.+\/\+\/(\d+)$/.exec(path)
  return m ? `${decodeURIComponent(m[1]!)}/${m[2]}` : undefined
}

/** lines reads #L12 or #L12-20: first and last line, counted from 1. */
export function lines(hash: string): [number, number] | undefined {
  const m = /^#L(\d+)(?:-L?(\d+))?$/.exec(hash)
  if (!m) return undefined
  const a = Number(m[1])
  const b = m[2] ? Number(m[2]) : a
  return a < 1 ? undefined : [Math.min(a, b), Math.max(a, b)]
}
