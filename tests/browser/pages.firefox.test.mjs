// The demos and the console in Firefox: every page opens under its own policy without an error, and shows what the hub sends.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { BROWSERS } from './browser.mjs';

const limit = { timeout: 90_000 };

// What a page says once events have come to it; what is done before, if they do not come by themselves.
const DEMOS = {
  '/': { id: 'last-id', wanted: /^\w+\.\w+/ },
  '/hello.html': { id: 'last-id', wanted: /^\w+\.\w+/ },
  '/prices.html': { id: 'painted', wanted: /^[1-9]/ },
  '/scoreboard.html': { id: 'matches', wanted: /\d/ },
  '/wall.html': {
    id: 'posts',
    wanted: /from a fox <b>/,
    act: async (page) => {
      await page.type('#name', 'Fox');
      await page.type('#text', 'from a fox <b>');
      await page.$eval('#form', (form) => form.requestSubmit());
    },
  },
  '/monitor.html': { id: 'uptime', wanted: /\d/ },
  '/notifications.html': { id: 'state', wanted: /^open/ },
  '/progress.html': { id: 'percent', wanted: /^[1-9]\d*\s*%/, act: (page) => page.$eval('#start', (button) => button.click()) },
  '/tokens.html': { id: 'words', wanted: /[1-9]/, act: (page) => page.$eval('#form', (form) => form.requestSubmit()) },
  '/kept.html': { id: 'count', wanted: /^[1-9]/ },
  '/connections.html': {
    id: 'mine',
    wanted: /^3 of 3$/,
    act: async (page) => {
      for (let n = 0; n < 3; n += 1) await page.$eval('#shared', (button) => button.click());
    },
  },
};

const CONSOLE = {
  '#/': /Ready[^]*Events per second/,
  '#/topics': /topics, the first|of \d/,
  '#/inspector?topic=demo/**': /[1-9]\d* events[^]*demo\//,
  '#/connections': /127\.0\.0\.1/,
  '#/settings': /durability/,
  '#/health': /Ready/,
};

describe('pages in Firefox', () => {
  let data;
  let child;
  let browser;
  let url;
  let admin;
  let key;

  before(async () => {
    assert.ok(process.env.TIDINGS_BIN, 'TIDINGS_BIN must name the tidings binary');
    data = await mkdtemp(path.join(tmpdir(), 'tidings-firefox-'));
    const words = ['demo', '--listen', '127.0.0.1:0', '--admin', '127.0.0.1:0', '--data', data];
    child = spawn(process.env.TIDINGS_BIN, words, { stdio: ['ignore', 'ignore', 'pipe'] });
    let said = '';
    [url, admin, key] = await new Promise((resolve, reject) => {
      child.once('exit', () => reject(new Error(`the demo ended before it was ready; it said:\n${said}`)));
      child.stderr.setEncoding('utf8').on('data', (text) => {
        said = (said + text).slice(-16_384);
        const found = ['listening on', 'admin on', 'the console is at .* and settings:'].map((what) => new RegExp(`^tidings: ${what} (\\S+)`, 'm').exec(said)?.[1]);
        if (found.every(Boolean)) resolve(found);
      });
    });
    browser = await BROWSERS.Firefox();
  }, limit);

  after(async () => {
    await browser?.close();
    child?.kill('SIGKILL');
    if (child && child.exitCode === null && child.signalCode === null) await once(child, 'exit');
    if (data) await rm(data, { recursive: true, force: true });
  }, limit);

  /** Opens a page, and says what it complained of. */
  async function open(target, key) {
    const page = await browser.newPage();
    if (key) await page.evaluateOnNewDocument((key) => sessionStorage.setItem('tidings-key', key), key);
    const faults = [];
    page.on('pageerror', (error) => faults.push(String(error)));
    page.on('console', (message) => message.type() === 'error' && faults.push(message.text()));
    await page.goto(target);
    return { page, faults };
  }

  for (const [target, { id, wanted, act }] of Object.entries(DEMOS)) {
    test(`demo ${target}`, limit, async () => {
      const { page, faults } = await open(url + target);
      await act?.(page);
      const shows = (id, wanted) => new RegExp(wanted).test(document.getElementById(id).textContent);
      await page.waitForFunction(shows, { timeout: 20_000 }, id, wanted.source).catch(async () => {
        assert.fail(`#${id} is ${JSON.stringify(await page.$eval(`#${id}`, ({ textContent }) => textContent))}`);
      });
      assert.deepEqual(faults, []);
      await page.close();
    });
  }

  for (const [hash, wanted] of Object.entries(CONSOLE)) {
    test(`console ${hash}`, limit, async () => {
      const { page, faults } = await open(`${admin}/${hash}`, key);
      const shows = (wanted) => new RegExp(wanted).test(document.body.innerText);
      await page.waitForFunction(shows, { timeout: 20_000 }, wanted.source).catch(async () => {
        assert.fail(`the page is ${JSON.stringify(await page.evaluate(() => document.body.innerText.slice(0, 2_000)))}`);
      });
      assert.deepEqual(faults, []);
      await page.close();
    });
  }
});
