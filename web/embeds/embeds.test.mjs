// htmx, Turbo and Datastar against the hub as it is: each page is what the book shows, on the hub's own origin, in Chromium.
// Needs what web/client has installed, too. Data is published by what the book shows, too; then the hub is killed, and nothing is missing and nothing there twice.

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { after, afterEach, before, describe, test } from 'node:test';
import { Hub } from '../../tests/browser/hub.mjs';
import { launch } from '../client/tests/chromium.mjs';

const limit = { timeout: 90_000 };
const module = (path) => readFile(new URL(`node_modules/${path}`, import.meta.url), 'utf8');
const SCRIPTS = {
  '/htmx.js': await module('htmx.org/dist/htmx.js'),
  '/sse.js': await module('htmx-ext-sse/sse.js'),
  '/turbo.js': await module('@hotwired/turbo/dist/turbo.es2017-esm.js'),
  '/datastar.js': await module('@starfederation/datastar/dist/datastar.js'),
};

/** The first HTML block of a section of the book. */
const BOOK = await readFile(new URL('../../docs/src/embeds.md', import.meta.url), 'utf8');
const shown = (title) => new RegExp(`## ${title}\\n[^]*?\`\`\`html\\n([^]*?)\`\`\``).exec(BOOK)[1];

describe('embeds', () => {
  let hub;
  let browser;
  let page;

  before(async () => {
    hub = await Hub.start();
    browser = await launch();
  }, limit);

  afterEach(async () => {
    await page?.close();
  }, limit);

  after(async () => {
    await browser?.close();
    await hub?.remove();
  }, limit);

  /** Opens the page on the hub's origin, as behind a proxy that serves both. */
  async function open(title) {
    page = await browser.newPage();
    await page.route('**/*', (route) => {
      const { pathname } = new URL(route.request().url());
      if (pathname === '/page') return route.fulfill({ contentType: 'text/html; charset=utf-8', body: `<!doctype html>\n${shown(title)}` });
      if (SCRIPTS[pathname]) return route.fulfill({ contentType: 'text/javascript', body: SCRIPTS[pathname] });
      return pathname === '/favicon.ico' ? route.fulfill({ status: 404 }) : route.continue();
    });
    await page.goto(`${hub.url}/page`);
    await subscribers(1);
  }

  async function subscribers(count) {
    for (let tries = 0; tries < 400; tries += 1) {
      const text = await (await fetch(`${hub.admin}/metrics`)).text();
      if (text.includes(`\ntidings_subscribers ${count}\n`)) return;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    assert.fail(`never ${count} subscribers`);
  }

  const items = () => page.evaluate(() => [...document.querySelectorAll('#news li')].map((item) => item.textContent));
  const until = async (expected) => {
    const same = (expected) => JSON.stringify([...document.querySelectorAll('#news li')].map((item) => item.textContent)) === expected;
    await page.waitForFunction(same, JSON.stringify(expected), { timeout: 20_000 }).catch(async () => assert.deepEqual(await items(), expected));
  };

  /** The page shows what comes, and all of it over a death of the hub. */
  async function story(title, topic, publish) {
    await open(title);
    await publish('one');
    await publish('two');
    await until(['one', 'two']);
    await hub.kill9();
    await hub.restart();
    await publish('three');
    await until(['one', 'two', 'three']);
    await new Promise((resolve) => setTimeout(resolve, 300));
    assert.deepEqual(await items(), ['one', 'two', 'three']);
  }

  test('htmx: the data is HTML, swapped into the page', limit, () =>
    story('htmx', 'news', (text) => hub.publishSurely('news', `<li>${text}</li>`)));

  test('Turbo: the data is a turbo-stream', limit, () =>
    story('Turbo', 'news', (text) =>
      hub.publishSurely('news', `<turbo-stream action="append" target="news"><template><li>${text}</li></template></turbo-stream>`)));

  test('Datastar: the type says what to do, the data with what', limit, () =>
    story('Datastar', 'news', (text) =>
      hub.publishSurely('news', `selector #news\nmergeMode append\nfragments <li>${text}</li>`, 'event=datastar-merge-fragments')));
});
