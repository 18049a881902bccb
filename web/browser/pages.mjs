// Opens the pages of a server in a real browser. internal/web's browser test starts it, and plays the
// server's part: each line that says "do <what>" is answered with a line once it is done.
//
//   node pages.mjs <chromium> <server> <folder for pictures>

import assert from 'node:assert/strict'
import { createInterface } from 'node:readline'
import { chromium } from 'playwright-core'

const [executablePath, server, pictures] = process.argv.slice(2)
const answers = createInterface({ input: process.stdin })[Symbol.asyncIterator]()
async function ask(what) {
  console.log(`do ${what}`)
  await answers.next()
}

const browser = await chromium.launch({
  executablePath,
  args: ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
})
const problems = []
async function open(options) {
  const page = await browser.newPage({ viewport: { width: 1280, height: 800 }, ...options })
  page.setDefaultTimeout(120000)
  page.on('pageerror', (e) => problems.push(`${page.url()}: ${e.message}`))
  page.on('console', (m) => m.type() === 'error' && !m.text().includes('404') && problems.push(`${page.url()}: ${m.text()}`))
  return page
}
const picture = (page, name) => page.screenshot({ path: `${pictures}/${name}.png` })
const fits = async (page) => {
  const [have, want] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth])
  assert.ok(have <= want, `${page.url()} is ${have} wide in a window of ${want}`)
}

try {
  const page = await open()
  // Status: the address leads to the tenant, items and jobs are there by word.
  await page.goto(server)
  await page.waitForURL('**/t/t/status')
  await page.getByText('Speed up the parser').waitFor()
  await page.getByRole('link', { name: 'image', exact: true }).first().waitFor()
  await page.getByText('It waits for job image').waitFor()
  await page.getByRole('status').filter({ hasText: 'live' }).waitFor()
  await fits(page)
  await picture(page, 'status')

  // What has left the pipelines lately leads to its buildset.
  await page.getByRole('region', { name: 'Lately ended' }).getByRole('link', { name: /buildset/ }).first().waitFor()

  // A step in the pipeline is seen without a reload.
  await ask('fail image')
  await page.getByRole('region', { name: 'gate' }).locator('.state', { hasText: 'failed' }).first().waitFor()
  await page.getByText('at least one job failed').waitFor()

  // The filter stands in the URL.
  await page.getByRole('searchbox', { name: 'Filter' }).fill('Ben')
  await page.getByText('Speed up the parser').waitFor({ state: 'detached' })
  assert.match(page.url(), /q=Ben/)
  await page.reload()
  await page.getByText('Teach the linter').waitFor()
  assert.equal(await page.getByText('Speed up the parser').count(), 0)

  // A buildset: figures, timeline, graph, why each job waited.
  await page.goto(`${server}/t/t/buildset/bs-d1`)
  await page.getByRole('region', { name: 'Timeline' }).getByText('service-gitea').waitFor()
  await page.getByText('Lower bound').waitFor()
  await page.getByRole('region', { name: 'Job graph' }).locator('svg g').nth(5).waitFor()
  await page.getByText('◆ critical').first().waitFor()
  await fits(page)
  await page.screenshot({ path: `${pictures}/buildset.png`, fullPage: true })

  // The log: only what can be seen is drawn, and what is new comes by itself.
  await page.getByRole('region', { name: 'Jobs' }).getByRole('link', { name: 'service-gitea', exact: true }).click()
  await page.waitForURL('**/t/t/build/b-service-gitea')
  await page.getByText('line 19999').waitFor()
  assert.ok((await page.locator('.line').count()) < 200, 'the whole log was drawn')
  await ask('append')
  await page.getByText('a line that came later').waitFor()
  await picture(page, 'build')
  // Scrolling up stops following.
  await page.locator('.lines').hover()
  await page.mouse.wheel(0, -4000)
  await page.getByRole('button', { name: 'Follow' }).waitFor()
  await ask('append')
  await page.getByText('20002 lines').waitFor()
  assert.equal(await page.getByText('a line that came later').count(), 0)
  // A search finds what was never on the page, a link to a line leads there.
  await page.getByRole('searchbox', { name: 'Search the log' }).fill('needle')
  await page.keyboard.press('Enter')
  await page.getByText('1 of 1').waitFor()
  await page.locator('.hit').getByText('a needle in the haystack').waitFor()
  await picture(page, 'search')
  await page.goto(`${server}/t/t/build/b-service-gitea#L42-44`)
  await page.reload()
  await page.locator('.marked').nth(2).waitFor()
  assert.equal(await page.locator('.marked').first().locator('a').innerText(), '42')
  await page.getByRole('button', { name: 'Follow' }).click()
  await ask('end')
  await page.getByRole('button', { name: 'To the end' }).waitFor()

  // Times are those of whoever looks; their zone and UTC are told.
  await page.locator('time').first().waitFor()
  assert.match((await page.locator('time').first().getAttribute('title')) ?? '', /UTC\)$/)
  // A name is copied whole.
  await page.getByRole('button', { name: 'Copy b-service-gitea' }).click()
  await page.getByText('copied').waitFor()

  // What is not there is said to be not there.
  await page.goto(`${server}/t/t/build/nope`)
  await page.getByText('not in the history').waitFor()
  assert.equal(await page.getByRole('heading', { name: 'Build', exact: true }).count(), 0)
  await page.goto(`${server}/t/nope/status`)
  await page.getByText('There is no tenant nope here.').waitFor()
  await page.goto(`${server}/nope`)
  await page.getByText('There is no such page.').waitFor()

  // The past.
  await page.goto(`${server}/t/t/builds`)
  await page.getByRole('link', { name: 'deploy', exact: true }).first().waitFor()
  await picture(page, 'builds')
  await page.goto(`${server}/t/t/builds?result=FAILURE`)
  await page.getByRole('table').waitFor()
  assert.equal(await page.getByRole('link', { name: 'unit', exact: true }).count(), 0)
  await page.goto(`${server}/t/t/buildset/past`)
  await page.getByRole('region', { name: 'Timeline' }).getByText('image').waitFor()
  await page.getByText('semaphore hosts held by base, 10s').first().waitFor()
  await page.goto(`${server}/t/t/buildsets`)
  await page.getByText('passed').first().waitFor()
  for (const [name, text] of [['jobs', 'Unit tests'], ['projects', 'org/app'], ['config-errors', 'The job unit2 is not defined.'], ['nodes', 'There is no node now'], ['semaphores', '0 of 1'], ['components', 'No process has joined']]) {
    await page.goto(`${server}/t/t/${name}`)
    await page.getByText(text).first().waitFor()
    await fits(page)
  }
  await picture(page, 'list')

  // A lock: who has it, who waits, its use over time.
  await page.goto(`${server}/t/t/locks`)
  const lock = page.getByRole('region', { name: 'Lock production' })
  await lock.getByText('Serve the wiki from the new hosts').waitFor()
  await lock.getByText('The mirrors, every hour').waitFor()
  await lock.getByText(/of the last 1h.* it was held, 7 times/).waitFor()
  assert.equal(await lock.locator('.bar').count(), 7)
  assert.equal(await lock.locator('.bar.held').count(), 1)
  await lock.getByText(/waits for \d/).waitFor()
  await fits(page)
  await picture(page, 'locks')

  // A race of an observed deployment.
  await page.goto(`${server}/t/t/buildset/raced`)
  const races = page.getByRole('region', { name: 'Races' })
  await races.getByText('file /srv/zuul-status.json on static01').waitFor()
  await races.getByText('1 among 2 observed jobs').waitFor()
  await races.getByText('in this order by chance').waitFor()
  await fits(page)
  await page.screenshot({ path: `${pictures}/races.png`, fullPage: true })

  // Changes of the built-in forge: those of the tenant, by state; one with votes, comments and diff.
  await page.goto(`${server}/t/t/changes`)
  await page.getByRole('link', { name: 'Serve TLS everywhere' }).waitFor()
  assert.equal(await page.getByText("Another tenant's").count(), 0)
  await page.getByText('Approved +1').waitFor()
  await fits(page)
  await picture(page, 'changes')
  await page.getByRole('searchbox', { name: 'Search' }).fill('tls')
  await page.getByRole('link', { name: 'Speed up the parser' }).waitFor({ state: 'detached' })
  await page.goto(`${server}/t/t/changes`)
  await page.getByRole('link', { name: 'Merged' }).click()
  await page.getByText('There is none.').waitFor()
  assert.match(page.url(), /status=MERGED/)
  // The address that reports name leads to it.
  await page.goto(`${server}/forge/local/c/org/app/+/1`)
  await page.waitForURL('**/t/t/change/local%2F1')
  await page.getByText('Looks right to me.').waitFor()
  await page.getByRole('region', { name: 'Diff' }).getByText('+# Speed up the parser').waitFor()
  await page.getByRole('link', { name: 'gate', exact: true }).waitFor()
  await fits(page)
  await page.screenshot({ path: `${pictures}/change.png`, fullPage: true })

  // In the dark, on a phone; by keyboard.
  const phone = await open({ viewport: { width: 390, height: 844 }, colorScheme: 'dark', hasTouch: true })
  for (const where of ['status', 'buildset/bs-d1', 'build/b-service-gitea', 'builds', 'config-errors', 'locks', 'changes', 'change/local/1', 'buildset/raced']) {
    await phone.goto(`${server}/t/t/${where}`)
    await phone.locator('h1').waitFor()
    await phone.waitForTimeout(400)
    await fits(phone)
    await phone.screenshot({ path: `${pictures}/phone-${where.replaceAll('/', '-')}.png` })
  }
  const dark = await open({ colorScheme: 'dark' })
  await dark.goto(`${server}/t/t/status`)
  await dark.getByText('Speed up the parser').waitFor()
  await picture(dark, 'dark')
  await dark.goto(`${server}/t/t/buildset/bs-d1`)
  await dark.getByRole('region', { name: 'Timeline' }).getByText('service-gitea').waitFor()
  await dark.waitForTimeout(300)
  await dark.screenshot({ path: `${pictures}/dark-buildset.png`, fullPage: true })
  // The first key leads past the tabs, the next to them.
  await dark.goto(`${server}/t/t/status`)
  await dark.getByText('Speed up the parser').waitFor()
  await dark.keyboard.press('Tab')
  assert.equal(await dark.evaluate(() => document.activeElement?.textContent), 'To the content')
  await dark.keyboard.press('Tab')
  assert.equal(await dark.evaluate(() => document.activeElement?.textContent), 'Gozer')

  assert.deepEqual(problems, [])
  console.log('done')
} finally {
  await browser.close()
}
process.exit(0) // standard input is still open
