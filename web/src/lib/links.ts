// Addresses in text that people and reports wrote.

export interface Part {
  text: string
  href?: string
}

/** linked takes text apart: what is an address, and what stands between. A full stop behind an address is none of it. */
export function linked(text: string): Part[] {
  const out: Part[] = []
  let at = 0
  for (const m of text.matchAll(/\bhttps?:\/\/[^\s<>"'`]+/g)) {
    const href = m[0].replace(/[.,;:!?)\]]+$/, '')
    if (m.index > at) out.push({ text: text.slice(at, m.index) })
    out.push({ text: href, href })
    at = m.index + href.length
  }
  if (at < text.length) out.push({ text: text.slice(at) })
  return out
}

/** outside is an address that a job or a forge gave, if it leads to a page; undefined where a browser would do something else. */
export function outside(url: string): string | undefined {
  return /^(https?:\/\/|\/(?!\/))/i.test(url) ? url : undefined
}
