// Source, hub and relay are killed and started again in turn: the topic holds what the source's file holds.
//
//   npm install
//   TIDINGS_BIN=../../target/debug/tidings node --test

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

const SERVER = fileURLToPath(new URL('server.js', import.meta.url));
const PATIENCE_MS = 30_000;

/** A program that can be killed and started again, and that says when it is ready. */
class Program {
  #child = null;
  #said = '';

  constructor(command, args, env = {}) {
    Object.assign(this, { command, args, env: { ...process.env, ...env } });
  }

  /** Starts it; resolves with the match of `ready` in what it says. */
  async start(ready) {
    const child = spawn(this.command, this.args, { env: this.env, stdio: ['ignore', 'pipe', 'pipe'] });
    this.#child = child;
    this.#said = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (text) => {
        this.#said += text;
      });
    }
    const end = Date.now() + PATIENCE_MS;
    for (;;) {
      const match = ready.exec(this.#said);
      if (match) return match;
      assert.equal(child.exitCode ?? child.signalCode, null, `${this.args[0]} ended:\n${this.#said}`);
      assert.ok(Date.now() < end, `${this.args[0]} is not ready:\n${this.#said}`);
      await sleep(10);
    }
  }

  async kill() {
    const child = this.#child;
    this.#child = null;
    if (child === null || child.exitCode !== null || child.signalCode !== null) return;
    const gone = once(child, 'exit');
    child.kill('SIGKILL');
    await gone;
  }
}

let dir;
const programs = [];

const program = (...args) => {
  const made = new Program(...args);
  programs.push(made);
  return made;
};

before(async () => {
  assert.ok(process.env.TIDINGS_BIN, 'TIDINGS_BIN must name the tidings binary');
  dir = await mkdtemp(path.join(tmpdir(), 'tidings-relay-'));
});

after(async () => {
  for (const each of programs) await each.kill();
  if (dir) await rm(dir, { recursive: true, force: true });
});

test('nothing is missing and nothing is there twice', { timeout: 180_000 }, async () => {
  const bin = path.resolve(process.env.TIDINGS_BIN);
  const file = path.join(dir, 'readings.jsonl');

  const source = program(process.execPath, [SERVER], { PORT: '0', EVERY_MS: '3', READINGS: file });
  const [, streamUrl] = await source.start(/readings at (\S+),/);
  source.env.PORT = new URL(streamUrl).port;

  const serve = (port) => ['serve', '--listen', `127.0.0.1:${port}`, '--admin', 'none', '--data', path.join(dir, 'data')];
  const hub = program(bin, serve(0));
  const [, hubUrl] = await hub.start(/listening on (\S+)/);
  hub.args = serve(new URL(hubUrl).port);

  const relay = program(bin, ['relay', streamUrl, '--topic', 'readings', '--url', hubUrl]);
  await relay.start(/recording readings/);

  for (let round = 0; round < 3; round += 1) {
    for (const [each, ready] of [
      [source, /readings at/],
      [hub, /listening on/],
      [relay, /going on behind the source's id/],
    ]) {
      await sleep(400);
      await each.kill();
      await sleep(150);
      await each.start(ready);
    }
  }

  await sleep(500);
  await source.kill();
  // A line that a killed source was still writing was never sent.
  const text = await readFile(file, 'utf8');
  const kept = text.slice(0, text.lastIndexOf('\n')).split('\n').map((line) => JSON.parse(line));
  assert.ok(kept.length > 300, `only ${kept.length} readings`);

  // The last reading may have been kept and not sent before the source died: it comes with the next life.
  await source.start(/readings at/);
  const recorded = [];
  const end = Date.now() + PATIENCE_MS;
  let next = 'from=start';
  while (recorded.length < kept.length) {
    assert.ok(Date.now() < end, `only ${recorded.length} of ${kept.length} were recorded`);
    const response = await fetch(`${hubUrl}/topics/readings?format=json&limit=1000&wait=1&${next}`);
    const page = await response.json();
    assert.equal(response.status, 200, JSON.stringify(page));
    recorded.push(...page.events);
    next = `last_event_id=${encodeURIComponent(page.next)}`;
  }
  recorded.forEach((event, index) => {
    const reading = JSON.parse(event.data);
    assert.equal(reading.id, index + 1, 'a hole or a double');
    assert.ok(event.id.endsWith(`~${index + 1}`), `${event.id} is reading ${index + 1}`);
    if (index < kept.length) assert.deepEqual(reading, { id: index + 1, ...kept[index] });
  });
});
