// Builds dist/, which is committed and becomes a part of the hub. With --check it builds to a scratch directory and fails
// if dist/ differs, so that what is committed is what the source says; and if a file is too large.

import { mkdtemp, readFile, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { build } from 'vite';

const HERE = path.dirname(fileURLToPath(import.meta.url));
const DIST = path.join(HERE, 'dist');

/** Bytes that each file may have after gzip. */
const FILES = { 'index.html': 1_024, 'console.js': 71_680, 'console.css': 6_144, 'icon.svg': 1_024 };

const make = (outDir) => build({ root: HERE, logLevel: 'warn', build: { outDir, emptyOutDir: true } });

/** Name and content of every file. */
async function contents(directory) {
  const entries = await readdir(directory, { recursive: true, withFileTypes: true }).catch(() => []);
  const files = entries.filter((entry) => entry.isFile()).map((entry) => path.join(entry.parentPath, entry.name));
  const pairs = files.map(async (file) => [path.relative(directory, file), await readFile(file)]);
  return new Map((await Promise.all(pairs)).sort(([a], [b]) => (a < b ? -1 : 1)));
}

function sizes(files) {
  const faults = [...files.keys()].filter((name) => !(name in FILES)).map((name) => `dist/${name} is not expected`);
  for (const [name, bytesMax] of Object.entries(FILES)) {
    const content = files.get(name);
    if (!content) {
      faults.push(`dist/${name} is missing`);
      continue;
    }
    const bytes = gzipSync(content, { level: 9 }).length;
    console.log(`${name.padEnd(12)} ${String(bytes).padStart(6)} bytes after gzip, of ${bytesMax}`);
    if (bytes > bytesMax) faults.push(`dist/${name} has ${bytes} bytes after gzip; the limit is ${bytesMax}`);
  }
  return faults;
}

async function check() {
  const scratch = await mkdtemp(path.join(tmpdir(), 'tidings-console-'));
  try {
    await make(scratch);
    const [made, committed] = [await contents(scratch), await contents(DIST)];
    const names = new Set([...made.keys(), ...committed.keys()]);
    const differs = (name) => !made.get(name) || !committed.get(name)?.equals(made.get(name));
    const faults = [...names].filter(differs).map((name) => `dist/${name} is not what src/ says: run \`npm run build\` and commit it`);
    return [...faults, ...sizes(made)];
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

async function write() {
  await make(DIST);
  return sizes(await contents(DIST));
}

const faults = process.argv.includes('--check') ? await check() : await write();
for (const fault of faults) console.error(`error: ${fault}`);
process.exitCode = faults.length > 0 ? 1 : 0;
