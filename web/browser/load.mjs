// Measures how the built page bears a full tenant: a server that has ITEMS items in three pipelines and changes
// RATE of them a second, and a real browser that shows them for ten seconds.
//
//   node load.mjs [ITEMS [RATE [CHROMIUM]]]     500 items, 50 changes a second, the chromium in the path

import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { join } from 'node:path'
import { chromium } from 'playwright-core'

const items = Number(process.argv[2] ?? 500)
const rate = Number(process.argv[3] ?? 50)
const executablePath = process.argv[4] ?? execFileSync('sh', ['-c', 'command -v chromium']).toString().trim()
const dist = new URL('../dist', import.meta.url).pathname
const began = Date.now()
const at = (seconds) => new Date(began + seconds * 1000).toISOString()

const job = (item, n) => ({
  id: `job-${n}`, name: `a-job-with-a-name-${n}`, voting: true, build: `b${item}-${n}`, queued: at(-60), estimate_ms: 120000,
  ...[{ state: 'success', result: 'SUCCESS', started: at(-50), ended: at(-20) }, { state: 'running', started: at(-50) }][n] ?? { state: 'waiting', why: 'It waits for job-1.' },
})
const pipelines = ['check', 'gate', 'deploy']
const all = Array.from({ length: items }, (_, i) => ({
  id: `i${i}`, pipeline: pipelines[i % 3], live: true, active: true, state: 'running', why: '', enqueued: at(-60 - i), buildset: `bs${i}`, ends: at(60),
  refs: [{ key: `k${i}`, id: `${i},1`, project: `org/project-${i % 7}`, canonical: '', branch: 'main', ref: 'r', url: 'http://example.org/', owner: 'ann', title: `Change number ${i} does something` }],
  jobs: [0, 1, 2, 3, 4, 5].map((n) => job(i, n)),
}))
const ids = (name) => all.filter((x) => x.pipeline === name).map((x) => x.id)
const snapshot = {
  version: 'e-0', snapshot: true, now: at(0), items: all,
  pipelines: pipelines.map((name, position) => ({ name, position, manager: name === 'gate' ? 'dependent' : 'independent', state: 'normal', queues: name === 'gate' ? [{ name, window: 20, items: ids(name) }] : ids(name).map((id) => ({ name: id, window: 0, items: [id] })) })),
}
const json = (r, body) => r.writeHead(200, { 'content-type': 'application/json' }).end(body)

function events(q, r) {
  r.writeHead(200, { 'content-type': 'text/event-stream' })
  const say = (ev) => r.write(`id: ${ev.version}\ndata: ${JSON.stringify(ev)}\n\n`)
  say(snapshot)
  let n = 0
  const beat = setInterval(() => {
    const item = structuredClone(all[n % items])
    item.jobs[n % 6].state = ['running', 'success', 'failure', 'queued'][n % 4]
    all[n++ % items] = item
    say({ version: `e-${n}`, now: new Date().toISOString(), items: [item] })
  }, 1000 / rate)
  q.on('close', () => clearInterval(beat))
}

const types = { js: 'text/javascript', css: 'text/css', html: 'text/html' }
const server = createServer((q, r) => {
  const { pathname } = new URL(q.url, 'http://localhost')
  if (pathname === '/api/tenants') return json(r, '[{"name":"t"}]')
  if (pathname.endsWith('/events')) return events(q, r)
  if (pathname.startsWith('/api/')) return json(r, '[]')
  const file = join(dist, pathname.startsWith('/assets/') ? pathname : 'index.html')
  if (!existsSync(file)) return r.writeHead(404).end()
  r.writeHead(200, { 'content-type': types[file.split('.').pop()] }).end(readFileSync(file))
})
await new Promise((done) => server.listen(0, '127.0.0.1', done))
const browser = await chromium.launch({ executablePath, args: ['--headless', '--no-sandbox', '--disable-gpu'] })
try {
  const page = await browser.newPage({ viewport: { width: 1440, height: 900 } })
  await page.addInitScript(() => {
    window.long = []
    window.shift = 0
    new PerformanceObserver((l) => l.getEntries().forEach((e) => window.long.push(e.duration))).observe({ type: 'longtask' })
    new PerformanceObserver((l) => l.getEntries().forEach((e) => (window.shift += e.hadRecentInput ? 0 : e.value))).observe({ type: 'layout-shift' })
  })
  await page.goto(`http://127.0.0.1:${server.address().port}/t/t/status`)
  await page.locator('article').first().waitFor()
  await page.waitForTimeout(1500)
  const cdp = await browser.newBrowserCDPSession()
  const cpu = async () => (await cdp.send('SystemInfo.getProcessInfo')).processInfo.filter((p) => p.type === 'renderer').reduce((n, p) => n + p.cpuTime, 0)
  const before = await cpu()
  await page.evaluate(() => {
    window.long = []
    window.shift = 0
    window.gaps = []
    let last = performance.now()
    const frame = (t) => (window.gaps.push(t - last), (last = t), requestAnimationFrame(frame))
    requestAnimationFrame(frame)
  })
  await page.waitForTimeout(10000)
  const used = (await cpu()) - before
  const { gaps, long, shift, paint } = await page.evaluate(() => ({ gaps: window.gaps.slice(1).sort((a, b) => a - b), long: window.long, shift: window.shift, paint: performance.getEntriesByName('first-contentful-paint')[0]?.startTime }))
  const gap = (part) => `${Math.round(gaps[Math.min(gaps.length - 1, Math.floor(gaps.length * part))])} ms`
  console.log(`${items} items, ${rate} changes a second, 10 seconds, 1440x900:`)
  console.log(`  first contentful paint    ${Math.round(paint)} ms`)
  console.log(`  frames                    ${gaps.length}; between two p50 ${gap(0.5)}, p95 ${gap(0.95)}, p99 ${gap(0.99)}, most ${gap(1)}`)
  console.log(`  tasks over 50 ms          ${long.length}, the longest ${Math.round(Math.max(0, ...long))} ms`)
  console.log(`  processor, the page's     ${used.toFixed(1)} s`)
  console.log(`  layout shift              ${shift.toFixed(4)}`)
} finally {
  await browser.close()
  server.close()
}
process.exit(0)
