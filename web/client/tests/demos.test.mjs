// The live demos against the real binary: what each page teaches is done here as a reader would do it. One hub and one
// browser for all; the hub is killed once, under all pages together. With SCREENSHOTS=directory it leaves pictures.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { launch } from './chromium.mjs';

const limit = { timeout: 60_000 };
const AXE = fileURLToPath(import.meta.resolve('axe-core/axe.min.js'));
const PAGES = ['/', '/hello.html', '/prices.html', '/scoreboard.html', '/wall.html', '/monitor.html', '/notifications.html', '/progress.html', '/tokens.html', '/kept.html', '/connections.html'];
const MARKUP = '<img src=x onerror="window.injected=1"><script>window.injected=1</script>';

class Demo {
  #data;
  #child;
  url;

  static async start() {
    const demo = new Demo();
    demo.#data = await mkdtemp(path.join(tmpdir(), 'tidings-demos-'));
    await demo.run('127.0.0.1:0');
    return demo;
  }

  async run(listen = new URL(this.url).host) {
    const child = spawn(process.env.TIDINGS_BIN, ['demo', '--listen', listen, '--admin', 'none', '--data', this.#data], { stdio: ['ignore', 'ignore', 'pipe'] });
    this.#child = child;
    let said = '';
    this.url = await new Promise((resolve, reject) => {
      child.once('exit', () => reject(new Error(`the demo ended before it was ready; it said:\n${said}`)));
      child.stderr.setEncoding('utf8').on('data', (text) => {
        said = (said + text).slice(-16_384);
        const listening = /^tidings: listening on (http:\/\/\S+)/m.exec(said);
        if (listening) resolve(listening[1]);
      });
    });
  }

  async kill() {
    this.#child.kill('SIGKILL');
    if (this.#child.exitCode === null && this.#child.signalCode === null) await once(this.#child, 'exit');
  }

  async stop() {
    await this.kill();
    await rm(this.#data, { recursive: true, force: true });
  }

  /** Publishes, as curl would. */
  async publish(topic, data, query = '') {
    const response = await fetch(`${this.url}/topics/${topic}${query}`, { method: 'POST', body: typeof data === 'string' ? data : JSON.stringify(data) });
    assert.equal(response.status, 200, await response.text());
  }
}

describe('the demos', () => {
  let demo;
  let browser;

  before(async () => {
    [demo, browser] = await Promise.all([Demo.start(), launch()]);
  }, limit);

  after(async () => {
    await browser?.close();
    await demo?.stop();
  }, limit);

  /** A browser of its own: over HTTP/1.1 the pages of one have six connections together. */
  const fresh = () => browser.newContext({ viewport: { width: 960, height: 900 } });

  /** Opens a page that must break nothing of its own policy; `expected` are complaints that belong to the story. */
  async function open(target, within, { expected = /^$/, before = () => {} } = {}) {
    const page = await within.newPage();
    const faults = [];
    page.on('pageerror', (error) => faults.push(String(error)));
    page.on('console', (message) => message.type() === 'error' && !expected.test(message.text()) && faults.push(message.text()));
    await before(page);
    await page.goto(demo.url + target);
    const text = (id, wanted) =>
      page
        .waitForFunction(([id, wanted]) => new RegExp(wanted).test(document.getElementById(id).textContent), [id, wanted], { timeout: 20_000 })
        .catch(async () => assert.fail(`#${id} is ${JSON.stringify(await page.textContent(`#${id}`))}, not /${wanted}/`));
    const number = async (id) => Number((await page.textContent(`#${id}`)).replace(/[^\d.]/g, ''));
    return { page, faults, text, number };
  }

  /** Reads all of an inbox: what is left then, at once, since others may send to it at any time. */
  const markRead = ({ page }) =>
    page.evaluate(() => {
      document.getElementById('read').click();
      return document.getElementById('unread').textContent;
    });

  /** Nothing that was published became anything but text. */
  async function clean({ page, faults }) {
    assert.equal(await page.evaluate(() => window.injected), undefined);
    assert.equal(await page.evaluate(() => document.querySelectorAll('main img, main script').length), 0);
    assert.deepEqual(faults, []);
  }

  describe('each by itself', { concurrency: true }, () => {
    test('wall: posted in one browser, seen in all; markup is text; what is lost is sent once', limit, async () => {
      const [context, other] = [await fresh(), await fresh()];
      const [a, b] = [await open('/wall.html', context, { expected: /ERR_FAILED/ }), await open('/wall.html', other)];
      await a.page.fill('#name', 'Ada');
      await a.page.selectOption('#colour', 'violet');
      const post = async (text) => {
        await a.page.fill('#text', text);
        await a.page.click('#form button');
      };
      await post('The tide is in.');
      await b.text('posts', 'Ada The tide is in\\.');
      await a.text('said', '^posted as');
      await post(MARKUP);
      await b.page.waitForFunction((markup) => document.querySelector('#posts .text').textContent === markup, MARKUP);

      // The answer of a post is lost; pressed again, it stands there once.
      let lost = 0;
      await a.page.route('**/topics/demo/wall', async (route) => {
        if (route.request().method() !== 'POST' || lost > 0) return route.continue();
        lost += 1;
        await route.fetch();
        await route.abort();
      });
      await post('Once, please.');
      await a.text('said', '^not posted');
      await a.page.click('#form button');
      await a.text('said', '^posted as');
      await b.page.waitForFunction(() => document.querySelector('#posts .text').textContent === 'Once, please.');
      const hers = () => [...document.querySelectorAll('#posts .name')].filter((name) => name.textContent === 'Ada').length;
      assert.equal(await b.page.evaluate(hers), 3);

      // What is not as a page would have it; and a page that opens later sees all of it.
      for (const data of ['no JSON', '[]', '{"name":7,"text":{}}', `{"name":"${'x'.repeat(90)}","colour":"url(x)","text":"long"}`]) {
        await demo.publish('demo/wall', data);
      }
      await b.text('posts', 'somebody no JSON');
      const c = await open('/wall.html', other);
      await c.page.waitForFunction(() => document.querySelectorAll('#posts li').length >= 7);
      assert.equal(await c.page.evaluate(hers), 3);
      assert.equal(await a.page.evaluate(() => document.querySelectorAll('#posts [data-colour="violet"]').length), 3);
      await a.page.reload();
      assert.equal(await a.page.inputValue('#name'), 'Ada');
      await Promise.all([a, b, c].map(clean));
      await Promise.all([context, other].map((each) => each.close()));
    });

    test('wall: where storage is blocked everything else works', limit, async () => {
      const blocked = (page) =>
        page.addInitScript(() => Object.defineProperty(window, 'localStorage', { get: () => { throw new DOMException('blocked', 'SecurityError'); } }));
      const context = await fresh();
      const wall = await open('/wall.html', context, { before: blocked });
      await wall.page.fill('#name', 'Ben');
      await wall.page.fill('#text', 'Without a memory.');
      await wall.page.click('#form button');
      await wall.text('posts', 'Without a memory');

      const inbox = await open('/notifications.html', context, { before: blocked });
      await inbox.text('unread', '^[1-9]');
      assert.equal(await markRead(inbox), '0');
      await inbox.text('said', 'keeps nothing');
      const job = await open('/progress.html', context, { before: blocked });
      await job.page.click('#start');
      await job.text('said', 'keeps nothing');
      await job.text('percent', '^[1-9]');
      await Promise.all([wall, inbox, job].map(clean));
      await context.close();
    });

    test('scoreboard: the state for a late joiner, and through a tunnel', limit, async () => {
      const context = await fresh();
      const early = await open('/scoreboard.html', context);
      await early.page.waitForFunction(() => document.querySelectorAll('#matches li').length === 4);
      await early.page.click('#tunnel');
      await early.text('said', '^In the tunnel');
      const late = await open('/scoreboard.html', context);
      await late.page.waitForFunction(() => document.querySelectorAll('#matches li').length === 4);
      await early.text('said', '^After the tunnel [1-9]\\d* events? came at once');
      const told = /(\d+) events? came at once, (\d+) goals? among/.exec(await early.page.textContent('#said'));
      assert.ok(Number(told[1]) >= 4, told[0]);
      const state = ({ page }) => page.evaluate(() => [...document.querySelectorAll('#matches .value, #matches .scorers')].map((each) => each.textContent));
      // Both have the same, but for an event that is on its way to one of them.
      let same = false;
      for (let n = 0; n < 20 && !same; n += 1) {
        const [a, b] = await Promise.all([state(early), state(late)]);
        same = JSON.stringify(a) === JSON.stringify(b);
        if (!same) await sleep(50);
      }
      assert.ok(same);
      const match = { id: '0', home: MARKUP, away: 'b', score: [1, 0], minute: 5, phase: MARKUP, goals: [{ who: MARKUP, minute: 5 }] };
      await demo.publish('demo/scores/0', match, '?event=goal');
      await demo.publish('demo/scores/1', 'no JSON', '?event=goal');
      await late.page.waitForFunction((markup) => document.querySelector('#matches .phase, #matches .soft').textContent.startsWith(markup), MARKUP);
      await late.text('events', 'onerror');
      await fetch(`${demo.url}/topics/demo/scores/0`, { method: 'DELETE' });
      await Promise.all([early, late].map(clean));
      await context.close();
    });

    test('tokens: stopped and resumed, and the same in two tabs', limit, async () => {
      const context = await fresh();
      const first = await open('/tokens.html', context);
      await first.page.selectOption('#question', '1');
      await first.page.click('#form button');
      await first.text('words', '^([5-9]|\\d\\d)');
      await first.page.click('#stop');
      await first.text('state', '^stopped here');
      const stopped = await first.number('words');
      const [second] = await Promise.all([context.waitForEvent('page'), first.page.click('#link')]);
      await second.waitForFunction((had) => parseInt(document.getElementById('words').textContent) > had + 10, stopped);
      assert.equal(await first.number('words'), stopped, 'what is stopped stays so');
      await first.page.click('#stop');
      await first.text('at-once', '[1-9]\\d* of them at once');
      for (const page of [first.page, second]) {
        await page.waitForFunction(() => document.getElementById('state').textContent === 'the answer is complete', null, { timeout: 30_000 });
      }
      const written = JSON.parse(await readFile(new URL('../../../crates/tidings/src/demo/answers.json', import.meta.url), 'utf8'))[1].answer;
      for (const page of [first.page, second]) assert.equal(await page.textContent('#answer'), written);
      assert.equal(await first.page.textContent('#said'), '');

      // Read again after its end; and one that nobody asked for, written by somebody else.
      await second.reload();
      await second.waitForFunction((written) => document.getElementById('answer').textContent === written, written);
      await demo.publish('demo/answers/foreign', MARKUP);
      const foreign = await open('/tokens.html#foreign', context);
      await foreign.page.waitForFunction((markup) => document.getElementById('answer').textContent === markup, MARKUP);
      await Promise.all([first, foreign].map(clean));
      await context.close();
    });

    test('progress: a bar that stands where the job is, after a reload and in another page', limit, async () => {
      const context = await fresh();
      const job = await open('/progress.html', context);
      await job.page.click('#start');
      await job.text('percent', '^[1-9]\\d %');
      const had = await job.number('percent');
      await job.page.reload();
      await job.text('percent', '%');
      assert.ok((await job.number('percent')) >= had, 'it does not begin anew');
      const other = await open('/progress.html', context);
      await other.text('percent', '[1-9]\\d %');
      await job.text('state', '^done$');
      await job.text('percent', '^100 %');
      await job.page.reload();
      await job.text('percent', '^100 %');
      const id = await job.page.evaluate(() => localStorage.getItem('tidings progress job'));
      const closed = await fetch(`${demo.url}/topics/demo/progress/${id}`, { method: 'HEAD' });
      assert.equal(closed.headers.get('tidings-closed'), 'true');
      await job.page.evaluate(() => localStorage.setItem('tidings progress job', 'foreign'));
      await demo.publish('demo/progress/foreign', { done: 1, of: 2, doing: MARKUP }, '?event=progress');
      await job.page.reload();
      await job.text('doing', 'onerror');
      await job.text('percent', '^50 %');
      await Promise.all([job, other].map(clean));
      await context.close();
    });

    test('notifications: private, unread kept, said aloud; 401 and 403 as what they are', limit, async () => {
      const recorded = (page) =>
        page.addInitScript(() => {
          window.notes = [];
          const Recorder = class {
            static permission = 'default';
            static requestPermission = async () => (Recorder.permission = 'granted');
            constructor(title, options) {
              window.notes.push([title, options.body]);
            }
          };
          window.Notification = Recorder;
        });
      const refused = /status of 40[13]/;
      const [context, other] = [await fresh(), await fresh()];
      const ada = await open('/notifications.html', context, { before: recorded, expected: refused });
      const ben = await open('/notifications.html', other, { before: recorded, expected: refused });
      await ben.page.selectOption('#user', 'ben');
      await Promise.all([ada, ben].map(({ text }) => text('state', '^open$')));
      await ada.text('unread', '^[1-9]');
      assert.equal(await markRead(ada), '0');
      assert.deepEqual(await ada.page.evaluate(() => window.notes), [], 'what was there before is not said aloud');

      const send = async ({ page }, text) => {
        await page.fill('#text', text);
        await page.click('#form button');
      };
      await send(ben, MARKUP);
      await ada.page.waitForFunction((markup) => [...document.querySelectorAll('#list .unread .text')].some((each) => each.textContent === markup), MARKUP);
      assert.deepEqual(await ada.page.evaluate(() => window.notes), [], 'nobody has allowed it');
      await ada.page.click('#allow');
      await ada.text('allow', 'are on');
      await send(ben, 'The tide turns at four.');
      await ada.page.waitForFunction(() => window.notes.some(([from, text]) => from === 'Ben' && text === 'The tide turns at four.'));
      assert.ok((await ada.number('unread')) >= 2);
      assert.match(await ada.page.title(), /^\([2-9]\)/);
      await ada.page.reload();
      await ada.text('list', 'The tide turns at four');
      assert.ok((await ada.number('unread')) >= 2, 'unread stays unread');
      const tab = await open('/notifications.html', context, { expected: refused });
      await tab.text('unread', '^[2-9]');
      await tab.page.click('#read');
      await ada.text('unread', '^0$');
      assert.ok(!(await ben.page.textContent('#list')).includes('The tide turns'), 'Ben does not see it');

      await ada.page.selectOption('#inbox', 'ben');
      await ada.text('state', '^403 The key does not grant this: key "demo-ada" does not grant to subscribe to "demo/users/ben/inbox"');
      await ada.page.selectOption('#user', 'nobody');
      await ada.text('state', '^401 A key is needed');
      await send(ada, 'without a key');
      await ada.text('said', '^not sent: 401');
      await ada.page.selectOption('#user', 'stranger');
      await ada.text('state', '^401 .*not one of this hub');
      assert.equal(await ada.page.textContent('#unread'), '0');
      await ada.page.selectOption('#user', 'ada');
      await ada.text('state', '^open$');
      // Nor does anybody else: the topic is not open to everybody.
      const bare = await fetch(`${demo.url}/topics/demo/users/ada/inbox?format=json`);
      assert.equal(bare.status, 401);
      await Promise.all([ada, ben, tab].map(clean));
      await Promise.all([context, other].map((each) => each.close()));
    });
  });

  test('prices: thousands a second in, a frame\'s worth painted, the page answers', limit, async () => {
    const context = await fresh();
    const prices = await open('/prices.html', context);
    const { page } = prices;
    await page.waitForFunction(() => document.querySelectorAll('#symbols tr').length === 4);
    await prices.text('received', '^[1-9],\\d{3}$');
    await demo.publish('demo/prices/GULL', MARKUP, '?event=trade');
    await demo.publish('demo/prices/GULL', JSON.stringify({ symbol: MARKUP, n: 1, ms: 1, open: 1, high: 1, low: 1, close: 1 }), '?event=trade');
    const painted = () =>
      page.evaluate(() => {
        const canvas = document.getElementById('chart');
        const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
        return { colours: new Set(new Uint32Array(data.buffer)).size, sharp: canvas.width === Math.round(canvas.clientWidth * devicePixelRatio) };
      });
    const candles = await painted();
    assert.ok(candles.colours > 3 && candles.sharp, JSON.stringify(candles));

    await page.selectOption('#rate', '10000');
    await page.waitForFunction(() => Number(document.getElementById('received').textContent.replace(',', '')) > 8_000);
    // Every press is answered at once, for three seconds of it.
    let slowest = 0;
    for (let n = 0; n < 12; n += 1) {
      const symbol = ['TERN', 'WREN', 'GULL', 'HERN'][n % 4];
      const began = performance.now();
      await page.click(`#symbols button:has-text("${symbol}")`);
      await prices.text('symbol', symbol);
      slowest = Math.max(slowest, performance.now() - began);
      await sleep(250);
    }
    const [received, drawn, longest] = [await prices.number('received'), await prices.number('painted'), await prices.number('longest')];
    console.log(`prices: received ${received}/s, painted ${drawn}/s, longest frame ${longest} ms, slowest press ${Math.round(slowest)} ms`);
    assert.ok(received > 5_000, `received ${received}`);
    assert.ok(drawn >= 4 && drawn <= 70, `painted ${drawn}`);
    assert.ok(slowest < 1_500, `a press took ${slowest} ms`);

    // The hub skips what is superseded, and the picture is the same.
    await page.check('#conflate');
    await page.waitForFunction(() => {
      const [traded, received] = ['traded', 'received'].map((id) => Number(document.getElementById(id).textContent.replace(',', '')));
      return traded > 6_000 && received > 0 && received < 1_000;
    });
    await page.selectOption('#kind', 'line');
    await sleep(300);
    assert.ok((await painted()).colours > 3);
    await page.selectOption('#rate', '2000');
    await clean(prices);

    // Kept candles are there at once for who comes late.
    await page.reload();
    await page.waitForFunction(() => document.querySelectorAll('#symbols tr').length === 4);
    await context.close();
  });

  test('a hub that is killed and starts again is back on every page', limit, async () => {
    const expected = /ERR_|status of 401/;
    const pages = new Map();
    const contexts = [await fresh(), await fresh(), await fresh()];
    for (const [at, target] of PAGES.entries()) pages.set(target, await open(target, contexts[at % 3], { expected }));
    const tokens = pages.get('/tokens.html');
    const job = pages.get('/progress.html');
    await tokens.page.selectOption('#question', '0');
    await tokens.page.click('#form button');
    await job.page.evaluate(() => localStorage.removeItem('tidings progress job'));
    await job.page.reload();
    await job.page.click('#start');
    await job.text('percent', '^[1-9]');
    await tokens.text('words', '^[1-9]\\d ');
    await pages.get('/notifications.html').text('state', '^open$');
    await demo.kill();
    await tokens.text('state', '^connecting');
    await sleep(500);
    await demo.run();
    const back = Date.now();
    for (const [target, { text }] of pages) {
      if (!['/connections.html', '/progress.html', '/tokens.html'].includes(target)) await text('state', '^open$');
    }
    await demo.publish('demo/wall', { name: 'hub', text: 'back again' });
    await pages.get('/wall.html').text('posts', 'hub back again');
    await pages.get('/').text('events', 'back again');
    await pages.get('/hello.html').text('events', 'greeting 1 of this run');
    await pages.get('/prices.html').text('received', '^[1-9]');
    await pages.get('/connections.html').text('probe', 'ms$');
    const scores = pages.get('/scoreboard.html').page;
    await scores.waitForFunction(() => document.querySelectorAll('#matches li').length === 4);
    // New keys: a message comes through under them.
    const inbox = pages.get('/notifications.html');
    await inbox.page.selectOption('#to', 'ada');
    await inbox.page.fill('#text', 'after the restart');
    await inbox.page.click('#form button');
    await inbox.text('list', 'after the restart');
    // What was begun before is ended, each word once.
    await job.text('percent', '^100 %');
    await tokens.text('state', '^the answer is complete');
    const written = JSON.parse(await readFile(new URL('../../../crates/tidings/src/demo/answers.json', import.meta.url), 'utf8'))[0].answer;
    assert.equal(await tokens.page.textContent('#answer'), written);
    console.log(`all pages were back ${Date.now() - back} ms after the start`);
    for (const each of pages.values()) await clean(each);
    await Promise.all(contexts.map((each) => each.close()));
  });

  test('every page has its source, no violation that axe finds, and room on a phone', limit, async () => {
    const axe = await readFile(AXE, 'utf8');
    const found = [];
    const context = await fresh();
    for (const target of PAGES) {
      const { page, faults } = await open(target, context);
      await page.waitForTimeout(400);
      for (const colorScheme of ['light', 'dark']) {
        await page.emulateMedia({ colorScheme, reducedMotion: 'reduce' });
        await page.setViewportSize({ width: 390, height: 800 });
        const wide = await page.evaluate(() => document.documentElement.scrollWidth);
        if (wide > 390) found.push(`${target}: ${wide} pixels wide on a phone`);
        await page.evaluate(axe);
        const { violations } = await page.evaluate(() => 
          // In the dark only colours are other ones.
          window.axe.run(document, { resultTypes: ['violations'], ...(matchMedia('(prefers-color-scheme: dark)').matches && { runOnly: ['color-contrast'] }) }),
        );
        for (const { id, nodes } of violations) found.push(`${target}, ${colorScheme}: ${id}: ${nodes.map(({ html }) => html.slice(0, 120)).join(' | ')}`);
        if (process.env.SCREENSHOTS) await page.screenshot({ path: path.join(process.env.SCREENSHOTS, `phone-${colorScheme}-${target.slice(1) || 'index'}.png`) });
      }
      const sources = await page.evaluate(() => [...document.querySelectorAll('main a[href^="/demo/"]')].map((link) => link.href));
      assert.ok(sources.length > 0, target);
      for (const source of sources) assert.equal((await fetch(source)).status, 200, source);
      assert.deepEqual(faults, [], target);
      await page.close();
    }
    assert.deepEqual(found, []);
    await context.close();
  });
});
