// The real hub as a child process: started, killed, started again on the same port; and a publisher that loses nothing.
//
// The binary is given by the environment variable TIDINGS_BIN. It is only spoken to over HTTP.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

const READY_MS_MAX = 20_000;
const STOP_MS_MAX = 20_000;
const PUBLISH_MS_MAX = 30_000;

/** A hub with a data directory of its own. Between `kill9` and `restart` it has a port but nobody listens. */
export class Hub {
  #child = null;
  #said = '';
  #data;
  #arguments;
  /** Port of the public listener, the same over all restarts unless one is asked to go elsewhere. */
  port = 0;
  /** URL of the admin listener of the present life. */
  admin = '';

  constructor(data, more) {
    this.#data = data;
    this.#arguments = more;
  }

  /** Starts a hub on an empty directory; `more` are further arguments of `tidings serve`. */
  static async start(...more) {
    assert.ok(process.env.TIDINGS_BIN, 'TIDINGS_BIN must name the tidings binary');
    const hub = new Hub(await mkdtemp(path.join(tmpdir(), 'tidings-browser-')), more);
    try {
      await hub.restart();
    } catch (error) {
      await hub.remove();
      throw error;
    }
    return hub;
  }

  get url() {
    return `http://127.0.0.1:${this.port}`;
  }

  /**
   * Starts the hub where it was before, or on `port` (0: any free one), and waits until it says it is ready. Its admin
   * listener takes any free port, unless one is given.
   */
  async restart(port = this.port, adminPort = 0) {
    assert.equal(this.#child, null, 'the hub still runs');
    const listen = ['--listen', `127.0.0.1:${port}`, '--admin', `127.0.0.1:${adminPort}`, '--data', this.#data];
    const child = spawn(process.env.TIDINGS_BIN, ['serve', ...listen, ...this.#arguments], {
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    this.#child = child;
    this.#said = '';
    const ready = new Promise((resolve, reject) => {
      child.once('error', reject);
      child.once('exit', (code, signal) => reject(new Error(`ended with ${code ?? signal} before it was ready`)));
      child.stderr.setEncoding('utf8').on('data', (text) => {
        this.#said = (this.#said + text).slice(-16_384);
        const listening = /^tidings: listening on (http:\/\/\S+)/m.exec(this.#said);
        const admin = /^tidings: admin on (http:\/\/\S+)/m.exec(this.#said);
        if (listening && admin) resolve([listening[1], admin[1]]);
      });
    });
    const late = new AbortController();
    const tooLate = sleep(READY_MS_MAX, undefined, { signal: late.signal }).then(() => {
      throw new Error(`did not say it is ready in ${READY_MS_MAX} ms`);
    });
    tooLate.catch(() => {}); // aborted: it was in time
    try {
      const [listening, admin] = await Promise.race([ready, tooLate]);
      this.port = Number(new URL(listening).port);
      this.admin = admin.replace(/\/$/, '');
    } catch (cause) {
      this.#child = null;
      child.kill('SIGKILL');
      throw new Error(`the hub ${cause.message}; it said:\n${this.#said}`, { cause });
    } finally {
      late.abort();
    }
  }

  /** `kill -9`: no farewell, no flush. */
  async kill9() {
    await this.#end('SIGKILL');
  }

  /** An orderly end; resolves when the process is gone. */
  async stop() {
    await this.#end('SIGTERM');
  }

  async #end(signal) {
    const child = this.#child;
    this.#child = null;
    if (child === null) return;
    const early = child.exitCode ?? child.signalCode;
    assert.equal(early, null, `the hub had ended by itself with ${early}; it said:\n${this.#said}`);
    const gone = once(child, 'exit');
    child.kill(signal);
    const hard = setTimeout(() => child.kill('SIGKILL'), STOP_MS_MAX);
    await gone;
    clearTimeout(hard);
  }

  /** Ends whatever runs and removes the data. For `after` hooks: never throws about how the hub ended. */
  async remove() {
    this.#child?.kill('SIGKILL');
    if (this.#child !== null && this.#child.exitCode === null && this.#child.signalCode === null) {
      await once(this.#child, 'exit');
    }
    this.#child = null;
    await rm(this.#data, { recursive: true, force: true });
  }

  /** A request to the public listener; an answer other than 2xx is an error that shows the answer. */
  async request(method, target, { body, headers = {} } = {}) {
    const response = await fetch(this.url + target, { method, body, headers, signal: AbortSignal.timeout(5_000) });
    const text = await response.text();
    if (!response.ok) {
      const error = new Error(`${method} ${target}: ${response.status} ${text}`);
      error.status = response.status;
      throw error;
    }
    return { status: response.status, headers: response.headers, text };
  }

  /** Publishes one event, once: `query` as in `event=score&id=7`. */
  async publish(topic, data, query = '') {
    return this.request('POST', `/topics/${topic}${query && `?${query}`}`, { body: data });
  }

  /**
   * Publishes one event until the hub has acked it, over any number of deaths of the hub. The key makes a second
   * try of what was already stored harmless. A refusal (4xx) is an error at once.
   */
  async publishSurely(topic, data, query = '') {
    const headers = { 'Idempotency-Key': randomUUID() };
    const end = Date.now() + PUBLISH_MS_MAX;
    for (let attempt = 1; ; attempt += 1) {
      try {
        await this.request('POST', `/topics/${topic}${query && `?${query}`}`, { body: data, headers });
        return attempt;
      } catch (error) {
        if (error.status < 500 || Date.now() > end) throw error;
        await sleep(20);
      }
    }
  }
}
