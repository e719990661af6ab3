// The book says what the hub says: node --test docs/examples.test.mjs
//
// Every block ```console of a page is run, in order, against a hub of the page's own, and what comes must be what stands
// there. With DOCS_WRITE=1 it is written there instead. A line that begins with `$ ` is a command; the lines up to the
// next one are its output. Ids, times and the like are put into one form first. The tables of errors and metrics are held
// against the tables in the code.
//
// TIDINGS_BIN names the tidings binary. Needs sh, curl and node.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

const ROOT = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const BOOK = path.join(ROOT, 'docs', 'src');
const WRITE = process.env.DOCS_WRITE === '1';
const limit = { timeout: 120_000 };

/** What stands in the book for what differs from run to run. */
const EPOCH = '1kq3f9';
const TIME = '2026-01-31T12:00:00.000Z';
const DATE = 'Sat, 31 Jan 2026 12:00:00 GMT';

/** A stream stays open: it has said all when it was silent for so long. */
const QUIET_MS = 800;
const COMMAND_MS_MAX = 15_000;

const names = (await readdir(BOOK, { recursive: true })).filter((name) => name.endsWith('.md')).sort();
const pages = await Promise.all(
  names.map(async (name) => ({ name, text: await readFile(path.join(BOOK, name), 'utf8') })),
);
const runnable = pages.filter((page) => page.text.includes('\n```console\n'));

test('there are examples to run', () => assert.ok(runnable.length >= 8, `${runnable.length} pages`));

for (const page of runnable) {
  describe(page.name, () => {
    let scratch;
    let hub;

    before(async () => {
      assert.ok(process.env.TIDINGS_BIN, 'TIDINGS_BIN must name the tidings binary');
      scratch = await mkdtemp(path.join(tmpdir(), 'tidings-docs-'));
      const more = /<!-- hub: (.*) -->/.exec(page.text)?.[1].split(' ') ?? [];
      hub = await startHub(path.join(scratch, 'data'), more);
    }, limit);

    after(async () => {
      if (hub !== undefined) {
        hub.child.kill('SIGKILL');
        if (hub.child.exitCode === null && hub.child.signalCode === null) await once(hub.child, 'exit');
      }
      if (scratch !== undefined) await rm(scratch, { recursive: true, force: true });
    }, limit);

    test('says what the hub says', limit, async () => {
      const found = await replaceBlocks(page.text, async (block) => {
        const parts = [];
        for (const { command } of commands(block)) {
          const output = await run(hub, command);
          parts.push(`$ ${command}\n${output}`);
        }
        return parts.join('');
      });
      if (WRITE) await writeFile(path.join(BOOK, page.name), found);
      else assert.equal(found, page.text);
    });
  });
}

test('the page of errors has every kind, as the hub says it', async () => {
  const source = await readFile(path.join(ROOT, 'crates/server/src/problem.rs'), 'utf8');
  const kinds = [...source.matchAll(/ = (\d{3}) "([^"]+)" "([^"]+)";/g)].map(([, status, slug, title]) => [slug, status, title]);
  assert.ok(kinds.length > 20, 'the table of kinds was found');
  const page = pages.find((page) => page.name === path.join('http', 'errors.md')).text;
  const rows = [...page.matchAll(/^\| `([a-z-]+)` \| (\d{3}) \| ([^|]+) \| ([^|]+) \|$/gm)];
  assert.deepEqual(rows.map(([, slug, status, title]) => [slug, status, title]), kinds);
});

test('the page of metrics has every metric, as the hub says it', async () => {
  const source = await readFile(path.join(ROOT, 'crates/server/src/admin/metrics.rs'), 'utf8');
  const table = source.slice(source.indexOf('pub static METRICS'), source.indexOf('/// Writes all of them'));
  const short = /(counter|gauge)\(\s*"([^"]+)",\s*"([^"]+)"/.source;
  const long = /name: "([^"]+)",\s*kind: "([^"]+)",\s*help: "([^"]+)"/.source;
  const metrics = [...table.matchAll(new RegExp(`${short}|${long}`, 'g'))].map((found) =>
    found[1] === undefined ? [found[4], found[5], found[6]] : [found[2], found[1], found[3]],
  );
  assert.ok(metrics.length > 15, 'the table of metrics was found');
  const page = pages.find((page) => page.name === path.join('http', 'admin.md')).text;
  const rows = [...page.matchAll(/^\| `(tidings_[a-z_]+)` \| (counter|gauge) \| ([^|]+) \|$/gm)];
  assert.deepEqual(rows.map(([, name, kind, help]) => [name, kind, help]), metrics);
});

async function replaceBlocks(text, made) {
  const parts = text.split(/(^```console\n[\s\S]*?^```$)/m);
  for (const [at, part] of parts.entries()) {
    if (!part.startsWith('```console\n')) continue;
    parts[at] = `\`\`\`console\n${await made(part.slice('```console\n'.length, -'```'.length))}\`\`\``;
  }
  return parts.join('');
}

/** A command goes on in the next line if a quote is open or the line ends with a backslash. */
function commands(block) {
  const found = [];
  let open = null;
  for (const line of block.replace(/\n$/, '').split('\n')) {
    if (open !== null) open.command += `\n${line}`;
    else if (line.startsWith('$ ')) open = { command: line.slice(2) };
    else {
      assert.ok(found.length > 0, `output before any command: ${line}`);
      continue;
    }
    const quotes = open.command.match(/'/g)?.length ?? 0;
    if (quotes % 2 === 1 || open.command.endsWith('\\')) continue;
    found.push(open);
    open = null;
  }
  assert.equal(open, null, 'the last command does not end');
  return found;
}

async function run(hub, command) {
  const real = command.replaceAll('localhost:4000', hub.public).replaceAll('localhost:4001', hub.admin);
  const { TIDINGS_URL: _url, TIDINGS_KEY: _key, ...env } = process.env;
  env.TIDINGS_URL = `http://${hub.public}`;
  env.PATH = `${path.dirname(process.env.TIDINGS_BIN)}${path.delimiter}${env.PATH}`;
  // curl shows no progress to a reader of this book either.
  const child = spawn('sh', ['-c', `curl() { command curl -sS "$@"; }; ${real.replaceAll(EPOCH, hub.epoch)}`], {
    cwd: ROOT,
    env,
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let [said, stderr, last] = ['', '', Date.now()];
  child.stdout.setEncoding('utf8').on('data', (text) => {
    said += text;
    last = Date.now();
  });
  child.stderr.setEncoding('utf8').on('data', (text) => (stderr += text));
  const started = Date.now();
  const ended = once(child, 'close').then(() => true);
  const isStream = /curl -i?N /.test(command);
  while (!(await Promise.race([ended, sleep(50).then(() => false)]))) {
    const silent = Date.now() - last > QUIET_MS && said !== '';
    assert.ok(Date.now() - started < COMMAND_MS_MAX, `${command}: takes too long; it said: ${said}${stderr}`);
    if (isStream && silent) break;
  }
  if (isStream && child.exitCode === null) {
    process.kill(-child.pid, 'SIGKILL');
    await ended;
  }
  assert.equal(stderr, '', `${command}: ${stderr}`);
  const plain = measured(said, (text) => text.replaceAll(`${hub.epoch}.`, `${EPOCH}.`))
    .replaceAll('\r\n', '\n')
    .replaceAll(hub.public, 'localhost:4000')
    .replace(/\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z/g, TIME)
    .replace(/^date: .*$/gim, `date: ${DATE}`)
    .replace(/\n+$/, '\n');
  return plain === '' || plain.endsWith('\n') ? plain : `${plain}\n`;
}

/** `text` changed, with the `Content-Length` of an answer in it still true: epochs have from one to seven digits. */
function measured(text, change) {
  const changed = change(text);
  const [before, length, after] = text.split(/(?<=^content-length: )(\d+)(?=\r$)/m);
  const body = (text) => text.slice(text.indexOf('\r\n\r\n') + 4);
  if (after === undefined || body(text) === '') return changed;
  assert.equal(Buffer.byteLength(body(text)), Number(length), text);
  return change(before) + Buffer.byteLength(body(changed)) + change(after);
}

async function startHub(data, more) {
  const child = spawn(
    process.env.TIDINGS_BIN,
    ['serve', '--listen', '127.0.0.1:0', '--admin', '127.0.0.1:0', '--data', data, ...more],
    { cwd: ROOT, stdio: ['ignore', 'ignore', 'pipe'] },
  );
  let said = '';
  const [listening, admin] = await new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', () => reject(new Error(`the hub ended before it was ready; it said:\n${said}`)));
    child.stderr.setEncoding('utf8').on('data', (text) => {
      said = (said + text).slice(-16_384);
      const listening = /^tidings: listening on http:\/\/([^/\s]+)\/?\n/m.exec(said);
      const admin = /^tidings: admin on http:\/\/([^/\s]+)\/?\n/m.exec(said);
      if (listening && admin) resolve([listening[1], admin[1]]);
    });
  });
  const head = await fetch(`http://${listening}/topics/news/any`, { method: 'HEAD' });
  const epoch = head.headers.get('Tidings-Position')?.split('.')[0];
  assert.ok(epoch, `no position: ${head.status}`);
  return { child, public: listening, admin, epoch };
}
