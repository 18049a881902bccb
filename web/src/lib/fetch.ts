// Asking the API.

/** ask reads JSON; an answer that is an error is thrown with the server's own words. */
export async function ask<T>(path: string, signal?: AbortSignal): Promise<T> {
  const r = await fetch(path, { signal })
  const body: unknown = await r.json().catch(() => undefined)
  if (!r.ok) throw new Error((body as { error_description?: string } | undefined)?.error_description ?? `${r.status} ${r.statusText}`)
  return body as T
}

export const tenantPath = (tenant: string, rest: string) => `/api/tenant/${encodeURIComponent(tenant)}/${rest}`
