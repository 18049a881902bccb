import { afterEach, describe, expect, it, vi } from 'vitest'
import css from '../app.css?raw'
import { html, kind, plain, stamped } from './ansi'
import { changeWord, diff, matches as changeMatches, votes } from './changes'
import { chart, ticks } from './gantt'
import { curve, draw, reduced } from './graph'
import { lists, nodeNote, search } from './lists'
import { linked, outside } from './links'
import { apply, count, empty, matches, ordered, Stream, type Live } from './live'
import { lanes, percent } from './locks'
import { atEnd, chunk, Lines, lineHeight, split, visible } from './loglines'
import { apiQuery, turned } from './page'
import { changeOf, lines, read, to } from './route'
import { ago, duration, full, parse } from './time'
import type { Item, Job, LiveEvent } from './types'
import { brief, jobWord, progress, reason, refName, shortPlace, tally, timing } from './words'

const job = (id: string, more: Partial<Job> = {}): Job => ({ id, name: id, voting: true, state: 'waiting', ...more })
const item = (id: string, more: Partial<Item> = {}): Item => ({
  id, pipeline: 'gate', why: '', refs: [{ key: id, id: '1,1', project: 'org/app', canonical: 'x/org/app', ref: 'r', title: 'Speed up', owner: 'Ann' }],
  live: true, active: true, state: 'running', enqueued: '2026-03-01T12:00:00Z', jobs: [], ...more,
})
const t0 = Date.parse('2026-03-01T12:00:00Z')
const at = (s: number) => new Date(t0 + s * 1000).toISOString()

describe('time', () => {
  it('says durations in at most two units', () => {
    expect([0, 999, 59_400, 60_000, 192_000, 7_500_000, 3_600_000, 273_600_000, -5].map(duration)).toEqual(['0s', '1s', '59s', '1m', '3m 12s', '2h 5m', '1h', '3d 4h', '0s'])
  })
  it('takes times without a zone for UTC', () => {
    expect(parse('2026-03-01T12:00:00')).toBe(t0)
    expect(parse('2026-03-01T13:00:00+01:00')).toBe(t0)
    expect(parse(null)).toBeUndefined()
    expect(parse('soon')).toBeUndefined()
    expect(ago('2026-03-01T11:58:00', t0)).toBe('2m ago')
    expect(full('2026-03-01T12:00:00')).toContain('(2026-03-01 12:00:00 UTC)')
    expect(full(null)).toBe('')
  })
})

describe('the stream', () => {
  class Source {
    static made: Source[] = []
    onopen?: () => void
    onerror?: () => void
    onmessage?: (m: { data: string }) => void
    readyState = 1
    constructor(public url: string) {
      Source.made.push(this)
    }
    close(): void {}
    say(ev: Partial<LiveEvent>): void {
      this.onmessage!({ data: JSON.stringify({ now: at(0), ...ev }) })
    }
  }
  afterEach(() => {
    vi.useRealTimers()
    vi.unstubAllGlobals()
    Source.made = []
  })
  it('draws many events at once, and comes back after an answer that was an error', () => {
    vi.useFakeTimers()
    vi.stubGlobal('EventSource', Source)
    const drawn: Live[] = []
    const states: boolean[] = []
    const stream = new Stream('t', (l) => drawn.push(l), (c) => void states.push(c))
    const [source] = Source.made
    source!.onopen!()
    source!.say({ version: 'e-1', snapshot: true, items: [item('a')] })
    expect(drawn.length).toBe(1)
    for (let n = 2; n < 52; n++) source!.say({ version: `e-${n}`, items: [item(`b${n}`)] })
    expect(drawn.length).toBe(1)
    vi.advanceTimersByTime(200)
    expect(drawn.length).toBe(2)
    expect(drawn[1]!.items.size).toBe(51)
    source!.readyState = 0
    source!.onerror!()
    vi.advanceTimersByTime(10_000)
    expect(Source.made.length).toBe(1) // the browser does that itself
    source!.readyState = 2
    source!.onerror!()
    vi.advanceTimersByTime(2000)
    expect(Source.made[1]!.url).toBe('/api/tenant/t/events?last-event-id=e-51')
    expect(states).toEqual([true, false, false])
    stream.close()
    Source.made[1]!.say({ version: 'e-52', items: [item('z')] })
    stream.close()
    vi.advanceTimersByTime(10_000)
    expect(drawn.length).toBe(2)
  })
})

describe('the colours', () => {
  const colours = new Map([...css.matchAll(/--(\w+): light-dark\((#\w+), (#\w+)\)/g)].map((m) => [m[1]!, [m[2]!, m[3]!]]))
  const light = (hex: string): number => {
    const six = hex.length === 4 ? [...hex.slice(1)].map((c) => c + c).join('') : hex.slice(1)
    const [r, g, b] = [0, 2, 4].map((i) => parseInt(six.slice(i, i + 2), 16) / 255).map((x) => (x <= 0.03928 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4))
    return 0.2126 * r! + 0.7152 * g! + 0.0722 * b!
  }
  it('can be read on every ground, light and dark (WCAG AA)', () => {
    for (const scheme of [0, 1])
      for (const text of ['text', 'soft', 'link', 'good', 'bad', 'run', 'warn', 'wait', 'mute', 'accent'])
        for (const ground of ['bg', 'card', 'sunk']) {
          const [a, b] = [light(colours.get(text)![scheme]!), light(colours.get(ground)![scheme]!)]
          expect((Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), `${text} on ${ground}, ${scheme ? 'dark' : 'light'}`).toBeGreaterThan(4.5)
        }
  })
})

describe('what people wrote', () => {
  it('has addresses', () => {
    expect(linked('see http://a/b, or (https://c/d?e=1#f).')).toEqual([
      { text: 'see ' }, { text: 'http://a/b', href: 'http://a/b' }, { text: ', or (' }, { text: 'https://c/d?e=1#f', href: 'https://c/d?e=1#f' }, { text: ').' },
    ])
    expect(linked('javascript:alert(1) ftp://x')).toEqual([{ text: 'javascript:alert(1) ftp://x' }])
    expect(linked('')).toEqual([])
    expect(['https://a/b', 'HTTP://a', '/change/local/1'].map(outside)).toEqual(['https://a/b', 'HTTP://a', '/change/local/1'])
    expect(['javascript:alert(1)', ' javascript:x', 'data:text/html,x', '//evil.test', ''].map(outside)).toEqual([undefined, undefined, undefined, undefined, undefined])
  })
  it('names changes, branches and files', () => {
    expect(refName({ change: '12', patchset: '3', ref: 'refs/changes/12/12/3' })).toBe('12,3')
    expect(refName({ change: null, patchset: null, ref: 'refs/heads/stable/1' })).toBe('stable/1')
    expect(shortPlace('/srv/views/bs/abc/src/local/org/app/playbooks/a.yaml:3')).toBe('org/app/playbooks/a.yaml:3')
    expect(shortPlace('playbooks/a.yaml:3')).toBe('playbooks/a.yaml:3')
    expect(changeOf('/forge/local/c/org/app/+/12')).toBe('local/12')
    expect(changeOf('/forge/local/api/changes/12')).toBeUndefined()
  })
})

describe('live', () => {
  const pipe = (name: string, position: number, items: string[]) => ({ name, manager: 'dependent', position, state: 'normal', queues: items.length ? [{ name: 'q', window: 0, items }] : [] })
  const first: LiveEvent = { version: 'e-1', snapshot: true, now: at(10), pipelines: [pipe('post', 2, []), pipe('gate', 1, ['a', 'b'])], items: [item('a'), item('b', { live: false })] }
  it('is a snapshot with deltas on top', () => {
    let live = apply(empty(), first, t0)
    expect(live.skew).toBe(10_000)
    expect(ordered(live).map((p) => p.name)).toEqual(['gate', 'post'])
    expect(count(live, live.pipelines.get('gate')!)).toBe(1)
    const a = live.items.get('a')
    live = apply(live, { version: 'e-2', now: at(11), items: [item('b', { state: 'failed' })], gone_pipelines: ['post'] }, t0)
    expect(live.items.get('a')).toBe(a)
    expect(live.items.get('b')?.state).toBe('failed')
    expect(live.pipelines.has('post')).toBe(false)
    live = apply(live, { version: 'e-3', now: at(12), gone_items: ['a'] }, t0)
    expect([...live.items.keys()]).toEqual(['b'])
    live = apply(live, { version: 'f-1', snapshot: true, now: at(12) }, t0)
    expect(live.items.size + live.pipelines.size).toBe(0)
  })
  it('searches by every word', () => {
    expect(matches(item('a'), 'ann SPEED')).toBe(true)
    expect(matches(item('a'), 'ann slow')).toBe(false)
    expect(matches(item('a'), ' ')).toBe(true)
  })
})

describe('words', () => {
  it('says why a job does not run, and not why it does', () => {
    const j = job('a', { why: 'It waits for job b, which runs.', waiting: 'dependencies: b' })
    expect(reason(j)).toBe('It waits for job b, which runs.')
    expect(reason({ ...j, why: undefined })).toBe('dependencies: b')
    expect(reason({ ...j, state: 'running' })).toBe('')
    expect(reason(j, 'It waits for job b, which runs.')).toBe('')
  })

  it('has an icon and a word for every state', () => {
    for (const state of ['waiting', 'queued', 'running', 'paused', 'failing', 'success', 'failure', 'skipped', 'canceled', 'unheard of']) {
      const w = jobWord(job('x', { state }))
      expect(w.icon).not.toBe('')
      expect(w.word).not.toBe('')
    }
    expect(jobWord(job('x', { state: 'failure', result: 'TIMED_OUT' })).word).toBe('timed out')
    expect(jobWord(job('x', { state: 'failure', voting: false })).tone).toBe('warn')
    expect(tally([job('a', { state: 'success' }), job('b'), job('c', { state: 'success' })]).map((x) => `${x.n} ${x.w.word}`)).toEqual(['2 passed', '1 waiting'])
  })
  it('tells progress and time left', () => {
    const j = job('x', { state: 'running', started: at(0), estimate_ms: 60_000 })
    expect(progress(j, t0 + 30_000)).toBe(0.5)
    expect(progress(j, t0 + 600_000)).toBe(0.98)
    expect(progress(job('y', { started: at(0) }), t0)).toBeUndefined()
    expect(timing(j, t0 + 15_000)).toBe('15s, 45s left')
    expect(timing(j, t0 + 90_000)).toBe('1m 30s, over its usual 1m')
    expect(timing({ ...j, ended: at(40) }, t0 + 90_000)).toBe('40s')
  })
})

describe('gantt', () => {
  it('puts bars and waits on one axis', () => {
    const c = chart({ live: false, critical: ['b'], jobs: [job('b', { queued: at(10), started: at(20), ended: at(40) }), job('a', { started: at(0), ended: at(10) }), job('never')] }, t0 + 100_000)
    expect(c.rows.map((r) => r.job.id)).toEqual(['a', 'b', 'never'])
    expect(c.rows[1]).toMatchObject({ wait: { from: 0.25, to: 0.5 }, bar: { from: 0.5, to: 1 }, critical: true, guess: false, label: '20s' })
    expect(c.rows[2]?.bar).toBeUndefined()
    expect(c.now).toBeUndefined()
  })
  it('lets running bars reach to where they will probably end', () => {
    const c = chart({ live: true, jobs: [job('a', { started: at(0), estimate_ms: 100_000 })] }, t0 + 25_000)
    expect(c).toMatchObject({ now: 0.25, span: 100_000 })
    expect(c.rows[0]).toMatchObject({ bar: { from: 0, to: 1 }, guess: true, label: '25s' })
  })
  it('says nothing of nothing', () => {
    expect(chart({ live: true, jobs: [job('a')] }, t0)).toMatchObject({ span: 0, ticks: [] })
  })
  it('has at most nine ticks at round times', () => {
    for (const span of [900, 7_000, 61_000, 3_599_000, 90_000_000, 9e9]) expect(ticks(span).length).toBeLessThanOrEqual(9)
    expect(ticks(60_000).map((t) => t.label)).toEqual(['0', '10s', '20s', '30s', '40s', '50s', '1m'])
  })
})

describe('graph', () => {
  it('draws parents left of children, and marks the critical edges', () => {
    const d = draw([job('c', { depends: [{ job: 'b', soft: true }, { job: 'gone' }] }), job('a'), job('b', { depends: [{ job: 'a' }] })], ['a', 'b'])
    const x = Object.fromEntries(d.boxes.map((b) => [b.job.id, b.x]))
    expect(x.a).toBeLessThan(x.b!)
    expect(x.b).toBeLessThan(x.c!)
    expect(d.lines.map((l) => [l.soft, l.critical])).toEqual([[true, false], [false, true]])
    expect(d.boxes.every((b) => b.x >= 0 && b.x + b.w <= d.width && b.y + b.h <= d.height)).toBe(true)
  })
  it('leaves out what a chain says already', () => {
    const jobs = [job('a'), job('b', { depends: [{ job: 'a' }] }), job('c', { depends: [{ job: 'a' }, { job: 'b', soft: true }] })]
    expect(reduced(jobs)).toEqual([{ from: 'a', to: 'b', soft: false }, { from: 'b', to: 'c', soft: true }])
  })
  it('leaves out what all names begin with', () => {
    expect(brief(['infra-prod-base', 'infra-prod-service-a', 'infra-prod-service-b'])).toEqual(['base', 'service-a', 'service-b'])
    expect(brief(['infra-prod-a', 'infra-prod-b'])).toEqual(['infra-prod-a', 'infra-prod-b'])
    expect(brief(['lint', 'unit', 'docs'])).toEqual(['lint', 'unit', 'docs'])
  })
  it('bends through points', () => {
    expect(curve([{ x: 0, y: 0 }, { x: 10, y: 4 }])).toBe('M0,0 C5,0 5,4 10,4')
    expect(curve([])).toBe('')
  })
})

describe('log lines', () => {
  it('draws what is visible, and some more', () => {
    expect(visible(0, 100, 1000, 2)).toEqual({ first: 0, last: 7 })
    expect(visible(50 * lineHeight, 100, 1000, 2)).toEqual({ first: 48, last: 57 })
    expect(visible(50 * lineHeight, 100, 10, 2)).toEqual({ first: 10, last: 10 })
    expect(atEnd(900, 100, 50)).toBe(true)
    expect(atEnd(700, 100, 50)).toBe(false)
  })
  it('keeps chunks wherever their borders are, and knows what is missing', () => {
    const l = new Lines()
    l.total = 1300
    expect(l.missing({ first: 400, last: 600 })).toEqual([0, chunk])
    const some = (from: number, n: number) => Array.from({ length: n }, (_, i) => `line ${from + i}`)
    l.add(0, some(0, chunk))
    l.add(chunk, some(chunk, 300))
    expect(l.missing({ first: 400, last: 600 })).toEqual([chunk])
    l.add(chunk + 300, some(chunk + 300, 400))
    expect([l.at(499), l.at(500), l.at(1100), l.at(1299)]).toEqual(['line 499', 'line 500', 'line 1100', undefined])
    expect(l.missing({ first: 400, last: 900 })).toEqual([])
    l.add(1200, some(1200, 150))
    expect([l.total, l.at(1349)]).toEqual([1350, 'line 1349'])
  })
  it('does not invent lines in a hole', () => {
    const l = new Lines()
    l.add(chunk + 10, ['x'])
    expect(l.at(chunk)).toBeUndefined()
    expect(l.missing({ first: chunk, last: chunk + 11 })).toEqual([chunk])
  })
  it('forgets old chunks of a long log', () => {
    const l = new Lines()
    for (let i = 0; i < 200; i++) l.add(i * chunk, Array.from({ length: chunk }, () => 'x'))
    expect(l.at(0)).toBeUndefined()
    expect(l.at(200 * chunk - 1)).toBe('x')
  })
  it('splits a stream at line ends', () => {
    expect(split('{"a":1}\n{"b"')).toEqual({ whole: ['{"a":1}'], rest: '{"b"' })
    expect(split('')).toEqual({ whole: [], rest: '' })
  })
})

describe('ansi', () => {
  it('escapes everything and keeps colours as classes', () => {
    expect(html('<script>\x1b[31mx</b>\x1b[0m')).toBe('&lt;script&gt;<span class="ansi-red-fg">x&lt;/b&gt;</span>')
    expect(html('\x1b]8;;javascript:alert(1)\x07link')).not.toContain('javascript')
  })
  it('shows what a terminal would', () => {
    expect(plain('10%\r50%\r100%')).toBe('100%')
    expect(plain('dos\r')).toBe('dos\r')
    expect(plain('\x1b[2K\x1b[1;32mok')).toBe('ok')
  })
  it('takes the time off a line', () => {
    expect(stamped('2026-03-01 12:00:00.123456 | a | b')).toEqual({ time: '2026-03-01T12:00:00.123456', text: 'a | b' })
    expect(stamped('plain')).toEqual({ time: '', text: 'plain' })
  })
  it('knows lines that matter', () => {
    expect(kind('2026-03-01 12:00:00.123456 | TASK [x : y] ***')).toBe('task')
    expect(kind('2026-03-01 12:00:00.123456 | fatal: [h]: FAILED!')).toBe('error')
    expect(kind('\x1b[0;33mchanged: [h]\x1b[0m')).toBe('changed')
    expect(kind('2026-03-01 12:00:00.123456 | LOOP [x : y]')).toBe('task')
    expect(kind('2026-03-01 12:00:00.123456 | one -> 10.0.0.1 | MODULE FAILURE:')).toBe('error')
    expect(kind('2026-03-01 12:00:00.123456 | one | ok: Runtime: 0:00:00.1')).toBe('ok')
    expect(kind('2026-03-01 12:00:00.123456 | one -> localhost | changed')).toBe('changed')
    expect(kind('2026-03-01 12:00:00.123456 | one | ok then')).toBe('')
    expect(kind('nothing here')).toBe('')
  })
})

describe('route', () => {
  it('reads what it writes', () => {
    const href = to('a/b', 'build', 'x y', { q: 'a&b', none: '' })
    const u = new URL(href, 'http://x')
    expect(read(u.pathname, u.search, '#L3')).toMatchObject({ tenant: 'a/b', page: 'build', id: 'x y', hash: '#L3' })
    expect(u.searchParams.get('q')).toBe('a&b')
    expect(u.searchParams.has('none')).toBe(false)
  })
  it('knows the addresses of Zuul', () => {
    expect(read('/t/x/stream/abc', '', '')).toMatchObject({ page: 'build', id: 'abc' })
    expect(read('/t/x', '', '')).toMatchObject({ tenant: 'x', page: 'status' })
    expect(read('/', '', '')).toMatchObject({ tenant: '' })
  })
  it('reads lines', () => {
    expect(lines('#L12')).toEqual([12, 12])
    expect(lines('#L20-12')).toEqual([12, 20])
    expect(lines('#L0')).toBeUndefined()
    expect(lines('#top')).toBeUndefined()
  })
})

describe('lists', () => {
  it('turn pages by the URL', () => {
    expect(apiQuery(new URLSearchParams('project=a&page=2&result='))).toBe('project=a&limit=50&skip=100')
    expect(turned(new URLSearchParams('a=1&page=2'), 0)).toBe('?a=1')
  })
  it('search rows', () => {
    const rows = [[{ text: 'unit' }, { text: 'Tests' }], [{ text: 'lint' }]]
    expect(search(rows, 'UNIT test')).toHaveLength(1)
    expect(search(rows, '')).toHaveLength(2)
  })
  it('say of a held node why, for how long, and how one gets in', () => {
    const n = { id: 'n1', state: 'hold', comment: 'ann looks\nmore', hold_until: 3600 }
    expect(nodeNote(n, 0)).toBe('ann looks · ends in 1h · gozer nodes ssh n1')
    expect(nodeNote({ ...n, state: 'failed' }, 0)).toBe('ann looks')
  })
  it('link a node to the build that uses it', () => {
    const row = lists.nodes!.rows([{ id: 'n1', label: 'small', provider: 'p', state: 'in-use', state_time: 0, made: 0, job: 'unit', build: 'b1', comment: '' }], 't', 5000)[0]!
    expect(row.map((c) => c.text)).toEqual(['n1', 'small', 'p', '● in-use', '5s', '5s', 'unit', '', ''])
    expect(row[6]!.href).toBe('/t/t/build/b1')
  })
})

describe('locks', () => {
  const at = (s: number) => new Date(1e12 + s * 1000).toISOString()
  const lock = {
    name: 'production', pipelines: [{ pipeline: 'deploy', precedence: 'high' }, { pipeline: 'hourly', precedence: 'low' }], waiting: [], use: 0.5, now: at(100),
    past: [{ pipeline: 'deploy', from: at(0), to: at(20) }, { pipeline: 'hourly', from: at(40), to: at(50) }],
    holder: { pipeline: 'deploy', item: 'i', buildset: 'b', since: at(80), refs: [] },
  }
  it('puts each time that it was held into the lane of its pipeline', () => {
    const l = lanes(lock, 1e12 + 100_000)
    expect(l.span).toBe(100_000)
    expect(l.rows.map((r) => [r.pipeline, r.held, r.bars.map((b) => [b.from, b.to, b.held])])).toEqual([
      ['deploy', 40_000, [[0, 0.2, false], [0.8, 1, true]]],
      ['hourly', 10_000, [[0.4, 0.5, false]]],
    ])
    expect(l.rows[0]!.bars[0]!.label).toBe('20s, ended 1m 20s ago')
    expect(l.rows[0]!.bars[1]!.label).toBe('20s, until now')
    expect(l.ticks[l.ticks.length - 1]).toEqual({ at: 1, label: 'now' })
  })
  it('has lanes without bars for a lock that nobody ever had', () => {
    const l = lanes({ ...lock, past: [], holder: undefined }, 1e12)
    expect(l.span).toBe(0)
    expect(l.rows.map((r) => r.bars.length)).toEqual([0, 0])
  })
  it('tells a share that is not nothing', () => expect([percent(0), percent(0.001), percent(0.624), percent(1)]).toEqual(['0 %', 'under 1 %', '62 %', '100 %']))
})

describe('changes', () => {
  const c = { number: 7, project: 'org/app', branch: 'main', status: 'NEW', owner: 'ada', created: '', updated: '', patchset: 2, topic: 'tls',
    current: { number: 2, commit: 'c', message: 'Serve TLS\n\nMore.', uploader: 'ada' } }
  it('tells states apart by word', () => {
    expect(changeWord(c).word).toBe('open')
    expect(changeWord({ ...c, wip: true }).word).toBe('in work')
    expect(changeWord({ ...c, status: 'MERGED' }).word).toBe('merged')
  })
  it('sums votes up: what is against counts first', () => {
    const v = (label: string, value: number) => ({ label, value, user: 'x' })
    expect(votes({ votes: [v('Verified', 2), v('Approved', 1), v('Verified', -1), v('Other', 0)] }).map((x) => x.text)).toEqual(['Approved +1', 'Verified −1'])
  })
  it('is found by number, title, owner and topic', () => {
    for (const q of ['7', 'tls ada', 'SERVE', 'org/app main']) expect(changeMatches(c, q)).toBe(true)
    expect(changeMatches(c, 'tls ben')).toBe(false)
  })
  it('tells lines of a diff apart', () => {
    const d = diff('diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -1 +1 @@\n-old\n+new\n same\n')
    expect(d.map((l) => l.kind)).toEqual(['file', 'file', 'file', 'hunk', 'del', 'add', 'same'])
  })
})
