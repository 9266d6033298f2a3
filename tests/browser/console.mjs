// The console in headless Chromium, on a daemon under load: charts move, a fiber that is stuck is found in three
// clicks, nothing is fetched from elsewhere, no error is logged; light and dark; 360 pixels; with the keyboard alone.
// node console.mjs FIBERD [DIRECTORY]: the screenshots of the docs are written to DIRECTORY.
import assert from 'node:assert/strict';
import {spawn} from 'node:child_process';
import {mkdtempSync, rmSync, statSync, writeFileSync} from 'node:fs';
import http from 'node:http';
import net from 'node:net';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {chromium} from 'playwright-core';

const [fiberd, images] = process.argv.slice(2);
assert.ok(fiberd, 'usage: node console.mjs FIBERD [DIRECTORY]');
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
const freePort = () => new Promise((done) => {
  const server = net.createServer().listen(0, '127.0.0.1', () => {
    const {port} = server.address();
    server.close(() => done(port));
  });
});
async function eventually(what, check, within = 30000) {
  const until = Date.now() + within;
  for (;;) {
    const value = await check();
    if (value) return value;
    assert.ok(Date.now() < until, 'in vain: ' + what);
    await sleep(200);
  }
}

const place = mkdtempSync(join(tmpdir(), 'fiberd-browser-'));
const web = await freePort();
const admin = await freePort();
const config = join(place, 'fiberd.yaml');
writeFileSync(config, `
admin: {address: "127.0.0.1:${admin}"}
log: {level: warning}
listeners:
  - name: web
    address: "127.0.0.1:${web}"
    http:
      timeouts: {body: 10m, request: 10m}
      limits: {body_rate: 0}
      routes:
        - {path: /, respond: {body: hello}}
        - {path: /echo, echo: {}}
        - {path: /gone, respond: {status: 410, body: gone}}
        - {path: /limited, respond: {body: x}, rate_limit: {rate: 5/s, burst: 5}}
        - {path: "/<b id=hostile>\\"'", respond: {body: x}}
`);
const daemon = spawn(fiberd, ['run', '-c', config], {stdio: ['ignore', 'ignore', 'pipe']});
let log = '';
daemon.stderr.on('data', (d) => { log += d; });
let loading = true;
let browser;
try {
  const origin = 'http://127.0.0.1:' + admin;
  const ask = (port, path, options = {}) => new Promise((done) => {
    const request = http.request({host: '127.0.0.1', port, path, agent, ...options}, (answer) => {
      answer.resume();
      answer.on('end', () => done(answer.statusCode));
    });
    request.on('error', () => done(0));
    request.end(options.body);
  });
  const agent = new http.Agent({keepAlive: true, maxSockets: 32});
  await eventually('the daemon answers' + log, async () => await ask(admin, '/readyz') === 200);

  // Load that comes in waves, and a request whose body never ends: its fiber is the one that is stuck.
  const paths = ['/', '/', '/', '/', '/gone', '/limited'];
  const load = Array.from({length: 12}, async (_, i) => {
    for (let n = i; loading; ++n) {
      await ask(web, paths[n % paths.length]);
      if (n % 40 === 0) await sleep(Math.random() * 400);
    }
  });
  const stuck = net.connect(web, '127.0.0.1');
  stuck.write('POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhello');

  browser = await chromium.launch({executablePath: process.env.CHROMIUM || '/usr/bin/chromium',
    args: ['--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage']});
  const context = await browser.newContext({viewport: {width: 1100, height: 860}, colorScheme: 'light'});
  const page = await context.newPage();
  const wrong = [];
  page.on('console', (m) => { if (m.type() === 'error' || m.type() === 'warning') wrong.push('console: ' + m.text()); });
  page.on('pageerror', (e) => wrong.push('page: ' + e));
  page.on('request', (r) => { if (!r.url().startsWith(origin + '/') && !r.url().startsWith('data:')) wrong.push('foreign: ' + r.url()); });
  const answer = await page.goto(origin + '/console');
  assert.equal(answer.status(), 200);
  assert.match(answer.headers()['content-security-policy'], /default-src 'none'/);
  const chart = (title) => page.locator(`figure[aria-label="${title}"]`);
  const titles = ['Requests a second', 'Latency of requests', 'Load of each Processor', 'Fibers by state', 'Stacks',
    'Stalls a second', 'Refused and shed a second', 'Connections'];

  // ---- charts move
  await eventually('eight charts', async () => await page.locator('.chart canvas').count() === titles.length);
  await eventually('requests are counted', async () => !/^all (0|–)$/.test(await chart('Requests a second').locator('li').first().innerText()));
  const drawn = (title) => chart(title).locator('canvas').evaluate((c) => c.toDataURL());
  for (const title of ['Requests a second', 'Latency of requests', 'Load of each Processor', 'Refused and shed a second']) {
    const before = await drawn(title);
    const said = await chart(title).locator('ul').innerText();
    await eventually(title + ' moves', async () => await drawn(title) !== before && await chart(title).locator('ul').innerText() !== said);
  }
  const inColour = () => page.evaluate(() => [...document.querySelectorAll('.chart canvas')].map((c) => {
    // What is drawn in a series' colour: neither grid nor text, which are grey.
    const {data} = c.getContext('2d').getImageData(0, 0, c.width, c.height);
    let coloured = 0;
    for (let i = 0; i < data.length; i += 4) if (data[i + 3] > 200 && Math.max(data[i], data[i + 1], data[i + 2]) - Math.min(data[i], data[i + 1], data[i + 2]) > 60) ++coloured;
    return coloured;
  }));
  const lines = await inColour();
  assert.ok(lines.every((n) => n > 20), 'a chart has no line: ' + lines);

  // ---- a fiber that is stuck, in three clicks
  await sleep(1500);
  const sites = page.locator('[data-table="sites"]');
  let clicks = 0;
  const click = async (what) => { ++clicks; await what.click(); };
  await click(page.getByRole('navigation', {name: 'Parts of this page'}).getByRole('link', {name: 'Fibers', exact: true}));
  await click(sites.getByRole('button', {name: 'oldest wait'}));
  const row = sites.locator('tbody tr', {hasText: 'io_read'}).first();
  await click(row.getByRole('button'));
  assert.ok(clicks <= 3);
  const stacks = sites.locator('td.open pre').first();
  await eventually('its stack', async () => /io_read[^]*serve_request/.test(await stacks.innerText()));
  assert.equal(await sites.locator('th').nth(3).getAttribute('aria-sort'), 'descending');
  await sleep(2500);
  assert.ok(await stacks.isVisible(), 'what was opened stays open while the table goes on');
  if (images) await page.screenshot({path: join(images, 'console-stuck-fiber.png')});

  // ---- what has a name like markup is text
  assert.equal(await page.locator('#hostile').count(), 0);
  await eventually('the hostile route as text', async () => (await page.locator('[data-table="routes"]').innerText()).includes('<b id=hostile>"\''));
  await eventually('the limit as refused', async () => (await page.locator('[data-table="refusals"]').innerText()).includes('admission_refused'));

  // ---- light and dark
  await page.evaluate(() => scrollTo(0, 0));
  await sleep(15000);
  const back = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  const light = await back();
  if (images) await page.screenshot({path: join(images, 'console-light.png')});
  await page.emulateMedia({colorScheme: 'dark'});
  await eventually('dark', async () => await back() !== light);
  await sleep(500);
  if (images) await page.screenshot({path: join(images, 'console-dark.png')});
  await page.emulateMedia({colorScheme: 'light'});

  // ---- 360 pixels
  await page.setViewportSize({width: 360, height: 740});
  await sleep(1500);
  const wide = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
  assert.ok(wide[0] <= wide[1], 'it scrolls sideways: ' + wide);
  if (images) await page.screenshot({path: join(images, 'console-narrow.png')});
  await page.setViewportSize({width: 1100, height: 860});

  // ---- the keyboard alone
  await page.reload();
  await eventually('rows', async () => await sites.locator('tbody tr').count() > 0);
  const seen = [];
  let opened = false;
  for (let i = 0; i < 60 && !opened; ++i) {
    await page.keyboard.press('Tab');
    const at = await page.evaluate(() => {
      const e = document.activeElement;
      const style = getComputedStyle(e);
      return {tag: e.tagName, text: (e.textContent || '').trim().slice(0, 60), outline: style.outlineStyle,
        width: parseFloat(style.outlineWidth), site: e.closest('[data-table="sites"] tbody') !== null && e.tagName === 'BUTTON'};
    });
    assert.ok(at.tag === 'BODY' || (at.outline !== 'none' && at.width >= 2), 'no focus to be seen: ' + JSON.stringify(at));
    seen.push(at.text);
    if (!at.site) continue;
    await page.keyboard.press('Enter');
    await eventually('stacks by the keyboard', async () => await sites.locator('td.open pre').count() > 0);
    await sleep(2500);
    const still = await page.evaluate(() => document.activeElement.closest('[data-table="sites"]') !== null);
    assert.ok(still, 'the focus is lost when the table is drawn again');
    opened = true;
  }
  assert.ok(opened, 'no site is reached by Tab: ' + seen.join(' | '));
  assert.equal(seen[0], 'Skip to the fibers');
  assert.ok(seen.includes('Pause'));

  // ---- the daemon's clock is set back
  const statuses = '**/debug/status';
  let told = 0;
  await page.route(statuses, async (route) => {
    const status = await route.fetch();
    const doc = await status.json();
    doc.process.now_seconds -= 3600;
    await route.fulfill({response: status, json: doc});
    ++told;
  });
  await eventually('some looks at an earlier time', () => told >= 6);
  const after = await inColour();
  assert.ok(after.every((n) => n > 20), 'a chart has no line after the clock was set back: ' + after);
  await page.unroute(statuses);

  // ---- pause, and a daemon that is gone
  await page.getByRole('button', {name: 'Pause'}).click();
  const paused = await page.locator('#process').innerText();
  await sleep(2500);
  assert.equal(await page.locator('#process').innerText(), paused);
  assert.deepEqual(wrong, []);
  console.log('console: all is well (' + titles.length + ' charts, ' + clicks + ' clicks, no foreign request, no error)');
  if (images) for (const name of ['console-stuck-fiber', 'console-light', 'console-dark', 'console-narrow']) {
    const {size} = statSync(join(images, name + '.png'));
    console.log(name + '.png: ' + size + ' bytes');
    assert.ok(size < 150 * 1024, name + ' is too large');
  }
  loading = false;
  stuck.destroy();
  await Promise.all(load);
  agent.destroy();
} finally {
  loading = false;
  if (browser) await browser.close();
  daemon.kill('SIGTERM');
  await Promise.race([new Promise((done) => daemon.on('exit', done)), sleep(10000)]);
  if (daemon.exitCode === null) daemon.kill('SIGKILL');
  if (log) process.stderr.write(log);
  rmSync(place, {recursive: true, force: true});
}
process.exit(0);
