// The pages of `tidings demo` that stand on the client, with the hub's own count of connections. With SCREENSHOTS=directory
// it leaves pictures.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { get } from 'node:http';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, afterEach, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { launch } from './chromium.mjs';

const limit = { timeout: 90_000 };

/** Subscribers that the demo itself has: it reads what pages ask of the exchange, of jobs and of answers. */
const READERS = 3;

async function startDemo(...more) {
  const data = await mkdtemp(path.join(tmpdir(), 'tidings-demo-'));
  const child = spawn(
    process.env.TIDINGS_BIN,
    ['demo', '--listen', '127.0.0.1:0', '--admin', '127.0.0.1:0', '--data', data, ...more],
    { stdio: ['ignore', 'ignore', 'pipe'] },
  );
  let said = '';
  const [url, admin] = await new Promise((resolve, reject) => {
    child.once('exit', () => reject(new Error(`the demo ended before it was ready; it said:\n${said}`)));
    child.stderr.setEncoding('utf8').on('data', (text) => {
      said = (said + text).slice(-16_384);
      const listening = /^tidings: listening on (https?:\/\/\S+)/m.exec(said);
      const admin = /^tidings: admin on (http:\/\/\S+)/m.exec(said);
      if (listening && admin) resolve([listening[1], admin[1]]);
    });
  });
  return {
    url,
    /** Streams and connections of pages, by the hub's own metrics; the connection that asks for them is not counted. */
    open: async () => {
      const [response] = await once(get(`${admin}/metrics`, { agent: false }), 'response');
      const text = (await response.toArray()).join('');
      const of = (name) => Number(new RegExp(`^${name} (\\d+)`, 'm').exec(text)?.[1]);
      return { streams: of('tidings_subscribers') - READERS, connections: of('tidings_connections') - 1 };
    },
    stop: async () => {
      child.kill('SIGKILL');
      if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
      await rm(data, { recursive: true, force: true });
    },
  };
}

for (const { over, flags, own } of [
  // Six connections: five sources and the page's shared stream. Three sources wait.
  { over: 'http/1.1', flags: [], own: { open: '5 of 8', streams: 6, connections: 6 } },
  { over: 'h2', flags: ['--tls-self-signed'], own: { open: '8 of 8', streams: 9, connections: 1 } },
]) {
  describe(`the demo over ${over}`, () => {
    let demo;
    let browser;
    let context;

    before(async () => {
      demo = await startDemo(...flags);
      browser = await launch();
      context = await browser.newContext({ ignoreHTTPSErrors: true, viewport: { width: 960, height: 900 } });
    }, limit);

    afterEach(async () => {
      for (const page of context.pages()) await page.close();
    }, limit);

    after(async () => {
      await browser?.close();
      await demo?.stop();
    }, limit);

    /** Opens a page that must break nothing of its own policy. */
    async function open(target) {
      const page = await context.newPage();
      const faults = [];
      page.on('pageerror', (error) => faults.push(String(error)));
      page.on('console', (message) => message.type() === 'error' && faults.push(message.text()));
      await page.goto(demo.url + target);
      return { page, faults };
    }

    async function picture(page, name) {
      if (process.env.SCREENSHOTS) await page.screenshot({ path: path.join(process.env.SCREENSHOTS, `${name}.png`) });
    }

    const text = (page, id, wanted) =>
      page.waitForFunction(([id, wanted]) => new RegExp(wanted).test(document.getElementById(id).textContent), [id, wanted]);

    test('connections: the limit, and how it is none', limit, async () => {
      const { page, faults } = await open('/connections.html');
      await text(page, 'protocol', `^${over}$`);
      await text(page, 'streams', '^1$');
      for (let n = 0; n < 8; n += 1) await page.click('#own');
      await text(page, 'mine', `^${own.open}$`);
      await sleep(1_500);
      assert.deepEqual(await demo.open(), { streams: own.streams, connections: own.connections });
      await text(page, 'streams', `^${own.streams}$`);
      await text(page, 'probe', over === 'h2' ? 'ms$' : '^waiting');
      await picture(page, `connections-own-${over.replace(/\W/g, '')}`);

      await page.click('#close');
      for (let n = 0; n < 8; n += 1) await page.click('#shared');
      await text(page, 'mine', '^8 of 8$');
      const other = await open('/connections.html');
      for (let n = 0; n < 3; n += 1) await other.page.click('#shared');
      await text(other.page, 'mine', '^3 of 3$');
      await text(page, 'streams', '^1$');
      await text(page, 'probe', 'ms$');
      assert.equal((await demo.open()).streams, 1);
      await page.waitForFunction(() => [...document.querySelectorAll('#sources tr')].every((row) => Number(row.cells[2].textContent) >= 2));
      await picture(page, `connections-shared-${over.replace(/\W/g, '')}`);
      assert.deepEqual([...faults, ...other.faults], []);
    });

    test('kept: shown from IndexedDB, resumed after a reload, once each in two tabs', limit, async () => {
      const { page, faults } = await open('/kept.html');
      await text(page, 'count', '^[1-9]');
      await text(page, 'state', 'open');
      await page.reload();
      const other = await open('/kept.html');
      await text(other.page, 'state', 'open');
      await sleep(2_500);
      const greetings = await page.evaluate(() => [...document.querySelectorAll('#events .data')].map((item) => Number(/greeting (\d+)/.exec(item.textContent)[1])));
      assert.ok(greetings.length >= 3, `${greetings}`);
      assert.deepEqual(greetings, greetings.map((_, at) => greetings[0] - at), 'one after the other, none twice');
      await page.click('#switch');
      await text(page, 'state', 'closed');
      await picture(page, 'kept');
      await page.click('#switch');
      await text(page, 'state', 'open');
      assert.deepEqual([...faults, ...other.faults], []);
    });

    test('other pages still work under their policy', limit, async () => {
      for (const target of ['/', '/hello.html', '/monitor.html']) {
        const { page, faults } = await open(target);
        await text(page, 'state', 'open');
        assert.deepEqual(faults, [], target);
      }
    });
  });
}
