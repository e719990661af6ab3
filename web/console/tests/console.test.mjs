// The console in Chromium against the real binary: one hub and one browser for all stories; a second hub, with keys, for
// what is refused. Nothing in a page may break the content security policy, whatever the data says.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { Agent, request } from 'node:http';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, afterEach, before, describe, test } from 'node:test';
import { chromium } from 'playwright-core';
import { Hub } from '../../../tests/browser/hub.mjs';

const limit = { timeout: 90_000 };
const AXE = await readFile(new URL('../node_modules/axe-core/axe.min.js', import.meta.url), 'utf8');
const FLAGS = ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'];
const TOPICS = 100_000;
const EVIL = '<img src=x onerror="window.hurt=1"><script>window.hurt=1</script>';

describe('console', () => {
  let hub;
  let browser;
  let context;
  let page;
  let faults;

  before(async () => {
    hub = await Hub.start('--durability', 'memory', '--memory-bytes', '256MiB', '--event-bytes-max', '1MiB');
    browser = await chromium.launch({ executablePath: process.env.TIDINGS_CHROMIUM ?? '/usr/bin/chromium', args: FLAGS, timeout: 60_000 });
    await fill(hub);
  }, limit);

  afterEach(async () => {
    await context?.close();
    assert.deepEqual(faults ?? [], [], 'the page said no error');
  }, limit);

  after(async () => {
    await browser?.close();
    await hub?.remove();
  }, limit);

  /** 100,000 topics, the last of which has markup for data. */
  async function fill(hub) {
    for (let from = 0; from < TOPICS; from += 10_000) {
      const lines = Array.from({ length: 10_000 }, (_, at) => JSON.stringify({ topic: `many/${String(from + at).padStart(6, '0')}`, data: 'x' }));
      await hub.request('POST', '/events', { body: lines.join('\n'), headers: { 'content-type': 'application/x-ndjson' } });
    }
    await hub.publish('evil', EVIL, `event=${encodeURIComponent('<b>type</b>')}`);
  }

  async function open(hash, { admin = hub.admin, width = 1280, colorScheme = 'light', expected = [] } = {}) {
    context = await browser.newContext({ colorScheme, viewport: { width, height: 900 } });
    page = await context.newPage();
    faults = [];
    page.on('pageerror', (error) => faults.push(error.message));
    page.on('console', (message) => {
      if (message.type() === 'error' && !expected.some((text) => message.text().includes(text))) faults.push(message.text());
    });
    await page.goto(`${admin}/${hash}`);
    await page.locator('h1').waitFor();
  }

  const see = (text) => page.getByText(text).first().waitFor({ timeout: 15_000 });

  async function accessible(rules) {
    // The policy forbids a script in the page; the driver's own world is not the page's.
    const session = await context.newCDPSession(page);
    const { frameTree } = await session.send('Page.getFrameTree');
    const { executionContextId: contextId } = await session.send('Page.createIsolatedWorld', { frameId: frameTree.frame.id });
    const run = async (expression) => {
      const { result, exceptionDetails } = await session.send('Runtime.evaluate', { expression, contextId, awaitPromise: true, returnByValue: true });
      assert.equal(exceptionDetails, undefined, exceptionDetails?.exception?.description);
      return result.value;
    };
    await run(AXE);
    const found = await run(`axe.run(document, { runOnly: ${JSON.stringify(rules)} }).then(({ violations, passes }) => ({
      passes: passes.length,
      violations: violations.map(({ id, nodes }) => id + ': ' + nodes.slice(0, 3).map((node) => node.html + ' ' + node.failureSummary).join(' | ')),
    }))`);
    assert.ok(found.passes > (rules[0] === 'color-contrast' ? 0 : 10), 'the rules were looked at');
    assert.deepEqual(found.violations, []);
  }

  test('the overview draws what the hub says, each second', limit, async () => {
    await open('');
    await see('Events per second');
    assert.equal(await page.locator('.plot canvas').count(), 6);
    const up = () => page.locator('main > p.soft').first().textContent();
    const before = await up();
    await page.waitForFunction((before) => document.querySelector('main > p.soft')?.textContent !== before, before);
    await see(/100,00\d topics|100 k topics/);
    await see('Ready');
  });

  test('100,000 topics are searched, and one is opened', limit, async () => {
    await open('#/topics');
    await see('of 100 k topics');
    const begun = Date.now();
    await page.getByLabel('Search').fill('99999');
    await page.getByRole('link', { name: 'many/099999' }).waitFor();
    await see(/^1 of/);
    assert.ok(Date.now() - begun < 5_000, `it took ${Date.now() - begun} ms`);
    await page.getByLabel('Order').selectOption('recent');
    await page.getByLabel('Search').fill('');
    await page.getByRole('link', { name: 'evil' }).click();
    await see(EVIL);
    assert.equal(await page.evaluate(() => window.hurt), undefined);
  });

  test('a topic is published to, closed and deleted', limit, async () => {
    await open('#/topic?name=made/here', { expected: ['404'] });
    await see('There is no such topic yet');
    await page.getByLabel('Data').fill(EVIL);
    await page.getByLabel('Type').fill('made');
    await page.getByRole('button', { name: 'Publish' }).click();
    await see(/Published as/);
    // It comes back over the stream, as text.
    await page.getByRole('cell', { name: EVIL }).waitFor();
    await page.getByRole('button', { name: /^Close/ }).click();
    await page.getByRole('button', { name: 'Close it' }).click();
    await see('Closed at');
    await page.getByRole('button', { name: /^Delete/ }).click();
    await page.getByRole('button', { name: 'Delete it' }).click();
    await see(/topics, the first/);
    assert.equal(await page.evaluate(() => window.hurt), undefined);
  });

  test('the inspector shows the bytes that came', limit, async () => {
    await open('#/inspector?topic=seen/*');
    await see('Listening');
    await hub.publish('seen/a', `two\nlines ${EVIL}`, 'event=e&id=my-id');
    await page.getByRole('button', { name: /~my-id/ }).click();
    await page.getByRole('button', { name: 'As it came' }).click();
    const block = await page.getByLabel('The block as it came').textContent();
    assert.match(block, /^id: \S+~my-id\nevent: e\ndata: \{"topic":"seen\/a","data":"two\\nlines /);
    assert.ok(block.endsWith('\n\n'));
    await page.getByRole('button', { name: 'Bytes', exact: true }).click();
    assert.match(await page.getByLabel('Bytes of the block').textContent(), /^000000 {2}69 64 3a 20/);
    await page.getByLabel('Show only').fill('nothing like it');
    await page.getByRole('button', { name: /~my-id/ }).waitFor({ state: 'detached' });
    assert.equal(await page.evaluate(() => window.hurt), undefined);
  });

  test('10,000 events a second leave the page responsive', limit, async () => {
    await open('#/inspector?topic=flood/*');
    await see('Listening');
    const lines = Array.from({ length: 2_500 }, (_, at) => JSON.stringify({ topic: `flood/${at % 9}`, data: `event ${at}` })).join('\n');
    await page.evaluate(() => {
      window.longest = 0;
      window.beats = 0;
      let last = performance.now();
      const beat = () => {
        const now = performance.now();
        window.longest = Math.max(window.longest, now - last);
        window.beats += 1;
        last = now;
        setTimeout(beat, 0);
      };
      beat();
    });
    const begun = Date.now();
    for (let turn = 0; turn < 16; turn += 1) {
      const next = begun + turn * 250 - Date.now();
      if (next > 0) await new Promise((resolve) => setTimeout(resolve, next));
      await hub.request('POST', '/events', { body: lines, headers: { 'content-type': 'application/x-ndjson' } });
    }
    await page.locator('[data-total="40000"]').waitFor({ timeout: 20_000 });
    const took = Date.now() - begun;
    const { longest, beats, rows } = await page.evaluate(() => ({ longest: window.longest, beats: window.beats, rows: document.querySelectorAll('.events tbody tr').length }));
    console.log(`40,000 events in ${took} ms; the page was never busy for longer than ${Math.round(longest)} ms`);
    assert.ok(rows <= 200, `${rows} rows`);
    // On a loaded machine the page waits for a core, too; one that draws each event has no turn at all.
    assert.ok(longest < 3_000, `the page was busy for ${longest} ms`);
    assert.ok(beats > 100, `the page had ${beats} turns`);
    // It still does what it is told.
    await page.getByRole('button', { name: 'Stop' }).click();
    await see('Stopped');
  });

  test('history has a time line, pages, and jumps', limit, async () => {
    await open('#/history?topic=many/*');
    await see('100 events');
    await page.locator('.bar').first().waitFor({ timeout: 20_000 });
    const first = () => page.locator('.events tbody th').first().textContent();
    const before = await first();
    await page.getByRole('button', { name: 'Later events' }).click();
    await page.waitForFunction((before) => document.querySelector('.events tbody th')?.textContent !== before, before);
    await page.getByRole('button', { name: 'Back' }).click();
    await page.waitForFunction((before) => document.querySelector('.events tbody th')?.textContent === before, before);
    const soon = new Date(Date.now() - 1_000);
    const local = new Date(soon.getTime() - soon.getTimezoneOffset() * 60_000).toISOString().slice(0, 19);
    await page.getByLabel('Jump to', { exact: true }).fill(local);
    await page.getByRole('button', { name: 'Jump', exact: true }).click();
    await see(/0 events/);
  });

  test('a connection is shown and cut', limit, async () => {
    const agent = new Agent();
    const reader = request(`${hub.url}/topics/cut-me`, { agent, headers: { accept: 'text/event-stream' } });
    const gone = new Promise((resolve) => reader.on('response', (response) => response.on('data', () => {}).on('close', resolve).on('error', resolve)));
    reader.on('error', () => {});
    reader.end();
    await open('#/connections');
    await page.getByLabel('Filter what is shown').fill('cut-me');
    const row = page.getByRole('row').filter({ hasText: 'cut-me' });
    for (let tries = 0; tries < 40 && (await row.count()) === 0; tries += 1) {
      await page.getByRole('button', { name: 'Look again' }).click();
      await page.waitForTimeout(100);
    }
    assert.match(await row.textContent(), /127\.0\.0\.1:\d+/);
    await row.getByRole('button', { name: /Disconnect/ }).click();
    await page.getByRole('button', { name: 'Disconnect it' }).click();
    await see(/Disconnected 127/);
    await gone;
    agent.destroy();
  });

  test('settings say where they came from', limit, async () => {
    await open('#/settings');
    await page.getByLabel('Only what somebody set').check();
    await see('--durability');
    const row = page.getByRole('row').filter({ hasText: 'memory_bytes' });
    assert.match(await row.textContent(), /256MiB.*--memory-bytes/);
  });

  test('a hub that restarts is told, and found again', limit, async () => {
    const other = await Hub.start('--durability', 'memory');
    try {
      const port = new URL(other.admin).port;
      await open('', { admin: other.admin, expected: ['ERR_', 'Failed to load'] });
      await see('Events per second');
      await other.kill9();
      await see('No connection to the hub');
      // Its admin listener comes back where it was.
      await other.restart(other.port, port);
      await page.locator('.top .state[data-state="ready"]').waitFor({ timeout: 20_000 });
      await see(/restarted 1 time/);
    } finally {
      await context?.close();
      await other.remove();
    }
  });

  test('401 and 403 are shown as what they are, and a key opens', limit, async () => {
    const directory = await mkdtemp(path.join(tmpdir(), 'tidings-console-'));
    const hash = (text) => `sha256:${createHash('sha256').update(text).digest('hex')}`;
    const file = path.join(directory, 'hub.toml');
    await writeFile(file, `[[keys]]\nname = "root"\nhash = "${hash('root-key-which-is-long-enough-0123456789')}"\npublish = ["**"]\nsubscribe = ["**"]\nmanage = ["**"]\n\n[[keys]]\nname = "clerk"\nhash = "${hash('clerk-key-which-is-long-enough-0123456789')}"\nsubscribe = ["open/**"]\n`);
    const other = await Hub.start('--durability', 'memory', '--config', file);
    try {
      await open('#/settings', { admin: other.admin, expected: ['401', '403'] });
      await see('401 · A key is needed');
      const enter = async (key) => {
        await page.getByRole('textbox', { name: 'Key' }).fill(key);
        await page.getByRole('button', { name: 'Use it' }).click();
      };
      await page.getByRole('button', { name: 'Enter a key' }).click();
      await enter('wrong');
      await page.getByRole('dialog').getByText('401').waitFor();
      await enter('clerk-key-which-is-long-enough-0123456789');
      await see('403 · The key does not grant this');
      await page.keyboard.press('3');
      await page.getByLabel('Topics or selectors').fill('secret/**');
      await page.getByRole('button', { name: 'Listen' }).click();
      await see('403 · The key does not grant this');
      await page.getByRole('button', { name: 'Use another key' }).click();
      await enter('root-key-which-is-long-enough-0123456789');
      await page.getByRole('dialog').waitFor({ state: 'hidden' });
      await page.keyboard.press('6');
      await see('root, clerk');
      const text = await page.locator('main').textContent();
      assert.ok(!text.includes(hash('root-key-which-is-long-enough-0123456789').slice(7)), 'no hash is shown');
      assert.ok(!page.url().includes('root-key-which-is-long-enough-0123456789'));
    } finally {
      await context?.close();
      await other.remove();
      await rm(directory, { recursive: true, force: true });
    }
  });

  test('it works from the keyboard', limit, async () => {
    await open('');
    await see('Events per second');
    await page.keyboard.press('2');
    await see('of 100 k topics');
    await page.keyboard.press('/');
    assert.equal(await page.evaluate(() => document.activeElement.type), 'search');
    // In a field a key is a letter.
    await page.keyboard.type('3');
    assert.equal(await page.locator('h1').textContent(), 'Topics');
    await page.evaluate(() => document.activeElement.blur());
    await page.keyboard.press('?');
    await page.getByRole('dialog').getByText('Single keys do something').waitFor();
    await page.keyboard.press('Escape');
    await page.getByRole('dialog').waitFor({ state: 'detached' }).catch(() => {});
    await page.keyboard.press('7');
    assert.equal(await page.locator('h1').textContent(), 'Health');
  });

  const ALL = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa'];
  for (const [colorScheme, width, rules] of [
    ['light', 1280, ['color-contrast']],
    ['dark', 390, ALL],
  ]) {
    test(`every page is accessible, in ${colorScheme} colours, ${width} pixels wide`, limit, async () => {
      await open('', { colorScheme, width });
      await see('Events per second');
      await accessible(rules);
      for (const [hash, text] of [
        ['#/topics', 'of 100 k topics'],
        ['#/topic?name=evil', 'What is known'],
        ['#/inspector?topic=evil', 'Listening'],
        ['#/history?topic=evil', '1 events'],
        ['#/connections', 'connections are open'],
        ['#/settings', 'memory_bytes'],
        ['#/health', 'Worth a look'],
      ]) {
        await page.evaluate((hash) => (location.hash = hash), hash);
        await see(text);
        await accessible(rules);
        const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
        assert.ok(wide <= 0, `${hash} is ${wide} pixels wider than the window`);
      }
    });
  }
});
