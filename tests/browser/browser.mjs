// Real browsers behind one small face: open a page, ask it what it saw, close.
//
// Chromium is driven by playwright-core, Firefox by puppeteer-core over WebDriver BiDi; both are the system's own
// binaries, nothing is downloaded. TIDINGS_CHROMIUM and TIDINGS_FIREFOX name others.

import { createServer } from 'node:http';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { chromium } from 'playwright-core';
import puppeteer from 'puppeteer-core';

const CHROMIUM_FLAGS = [
  '--headless',
  '--no-sandbox', // the tests also run as root, where Chromium's sandbox refuses to start
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

// Firefox calls home on its first start; a test run must not.
const FIREFOX_PREFERENCES = {
  'app.update.enabled': false,
  'browser.safebrowsing.downloads.enabled': false,
  'browser.safebrowsing.malware.enabled': false,
  'browser.safebrowsing.phishing.enabled': false,
  'datareporting.policy.dataSubmissionEnabled': false,
  'network.captive-portal-service.enabled': false,
  'network.connectivity-service.enabled': false,
  'services.settings.server': 'data:,',
  'toolkit.telemetry.enabled': false,
};

/** The browsers that the same stories run in. */
export const BROWSERS = {
  Chromium: () =>
    chromium.launch({
      executablePath: process.env.TIDINGS_CHROMIUM ?? '/usr/bin/chromium',
      args: CHROMIUM_FLAGS,
      timeout: 60_000,
    }),
  Firefox: () =>
    puppeteer.launch({
      browser: 'firefox',
      executablePath: process.env.TIDINGS_FIREFOX ?? '/usr/bin/firefox-esr',
      headless: true,
      extraPrefsFirefox: FIREFOX_PREFERENCES,
      timeout: 60_000,
    }),
};

const HTML = await readFile(new URL('page.html', import.meta.url), 'utf8');

/** Serves `page.html` on a loopback port of its own, so that the hub is another origin. */
export async function servePage() {
  const server = createServer((request, response) => {
    const found = request.method === 'GET' && request.url === '/';
    response.writeHead(found ? 200 : 404, { 'content-type': 'text/html; charset=utf-8' });
    response.end(found ? HTML : '');
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${server.address().port}/`,
    close: () => {
      server.closeAllConnections();
      server.close();
    },
  };
}

/** One page with one EventSource in it. */
export class Reader {
  #page;

  constructor(page) {
    this.#page = page;
  }

  /** Opens a page and in it an `EventSource` on `url`, with a listener for each type of `types` besides `message`. */
  static async open(browser, pageUrl, url, types = []) {
    const page = await browser.newPage();
    await page.goto(pageUrl);
    return Reader.#watch(page, url, types);
  }

  /**
   * The same, with the page on the hub's own origin, as behind a proxy that serves both. The browser is handed the
   * page in place of an answer of the hub; once it has it, nothing stands between the two any more.
   */
  static async openAtHub(browser, url, types = []) {
    const page = await browser.newPage();
    const at = new URL('/page-of-the-tests', url).href;
    const answer = { status: 200, contentType: 'text/html; charset=utf-8', body: HTML };
    if (typeof page.route === 'function') {
      await page.route(at, (route) => route.fulfill(answer));
      await page.goto(at);
      await page.unroute(at);
    } else {
      const answerOrPass = (request) => (request.url() === at ? request.respond(answer) : request.continue());
      await page.setRequestInterception(true);
      page.on('request', answerOrPass);
      await page.goto(at);
      page.off('request', answerOrPass);
      await page.setRequestInterception(false);
    }
    return Reader.#watch(page, url, types);
  }

  static async #watch(page, url, types) {
    await page.evaluate(([url, types]) => window.watch(url, types), [url, types]);
    return new Reader(page);
  }

  /** All that happened, in order: `{kind: 'created'|'open'|'error'|'closed'|'event', state, type?, data?, id?}`. */
  log() {
    return this.#page.evaluate(() => window.log);
  }

  /** The entries of one kind. */
  async of(kind) {
    return (await this.log()).filter((entry) => entry.kind === kind);
  }

  /** The data of every event so far. */
  async data() {
    return (await this.of('event')).map((entry) => entry.data);
  }

  readyState() {
    return this.#page.evaluate(() => window.source.readyState);
  }

  closeSource() {
    return this.#page.evaluate(() => window.closeSource());
  }

  /** Waits until `condition(log)` holds; if it never does, the error shows the end of the log. */
  async until(what, condition, ms = 30_000) {
    const end = Date.now() + ms;
    for (;;) {
      const log = await this.log();
      if (condition(log)) return log;
      if (Date.now() > end) {
        const tail = log.slice(-12).map((entry) => JSON.stringify(entry));
        throw new Error(`waited ${ms} ms for: ${what}; ${log.length} entries, the last:\n${tail.join('\n')}`);
      }
      await sleep(50);
    }
  }

  async opened() {
    await this.until('open', (log) => log.some((entry) => entry.kind === 'open'));
  }

  close() {
    return this.#page.close();
  }
}
