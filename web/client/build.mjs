// Builds dist/ from src/: one bundle per entry point and the declarations. With --check it builds to a scratch directory
// and fails if dist/ differs, so that what is committed is what the source says; and if an entry point is too large.

import { execFile } from 'node:child_process';
import { mkdtemp, readFile, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';

const HERE = path.dirname(fileURLToPath(import.meta.url));
const DIST = path.join(HERE, 'dist');

/** Entry points, and how many bytes each may have after gzip: what it adds to a page that has the core. */
const ENTRIES = { index: 6_144, topics: 4_096, shared: 4_096, publisher: 3_072, indexeddb: 3_072 };

/** The core is one instance, whatever else a page loads: its classes are compared. */
const ENTRY_STAYS_OUTSIDE = {
  name: 'entry-stays-outside',
  setup: ({ onResolve }) => {
    onResolve({ filter: new RegExp(`^\\./(${Object.keys(ENTRIES).join('|')})\\.js$`) }, ({ path, kind }) =>
      kind === 'entry-point' ? undefined : { path, external: true },
    );
  },
};

async function make(directory) {
  await build({
    absWorkingDir: HERE,
    entryPoints: Object.keys(ENTRIES).map((name) => `src/${name}.ts`),
    outdir: directory,
    bundle: true,
    format: 'esm',
    target: 'es2022',
    minify: true,
    sourcemap: false,
    legalComments: 'none',
    banner: { js: '// tidings, MIT OR Apache-2.0. The source is in src/.' },
    plugins: [ENTRY_STAYS_OUTSIDE],
    logLevel: 'warning',
  });
  const tsc = path.join(HERE, 'node_modules/typescript/bin/tsc');
  const types = path.join(directory, 'types');
  await promisify(execFile)(process.execPath, [tsc, '-p', HERE, '--outDir', types], { cwd: HERE }).catch((error) => {
    throw new Error(`tsc:\n${error.stdout}${error.stderr}`);
  });
}

/** Path and content of every file below. */
async function contents(directory) {
  const entries = await readdir(directory, { recursive: true, withFileTypes: true }).catch(() => []);
  const files = entries.filter((entry) => entry.isFile()).map((entry) => path.join(entry.parentPath, entry.name));
  const pairs = files.map(async (file) => [path.relative(directory, file), await readFile(file, 'utf8')]);
  return new Map((await Promise.all(pairs)).sort(([a], [b]) => (a < b ? -1 : 1)));
}

async function sizes(directory) {
  const faults = [];
  for (const [name, bytesMax] of Object.entries(ENTRIES)) {
    const bytes = gzipSync(await readFile(path.join(directory, `${name}.js`)), { level: 9 }).length;
    console.log(`${name.padEnd(10)} ${String(bytes).padStart(6)} bytes after gzip, of ${bytesMax}`);
    if (bytes > bytesMax) faults.push(`${name}.js has ${bytes} bytes after gzip; the limit is ${bytesMax}`);
  }
  return faults;
}

async function check() {
  const scratch = await mkdtemp(path.join(tmpdir(), 'tidings-client-'));
  try {
    await make(scratch);
    const [made, committed] = [await contents(scratch), await contents(DIST)];
    const names = new Set([...made.keys(), ...committed.keys()]);
    const faults = [...names]
      .filter((name) => made.get(name) !== committed.get(name))
      .map((name) => `dist/${name} is not what src/ says: run \`npm run build\` and commit it`);
    return [...faults, ...(await sizes(scratch))];
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

async function write() {
  await rm(DIST, { recursive: true, force: true });
  await make(DIST);
  return sizes(DIST);
}

const faults = process.argv.includes('--check') ? await check() : await write();
for (const fault of faults) console.error(`error: ${fault}`);
process.exitCode = faults.length > 0 ? 1 : 0;
