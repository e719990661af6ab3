// The recipes of the book: type-checked against the client as it is shipped, compiled, and run where no page is needed.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { build, transform } from 'esbuild';
import { compileModule } from 'svelte/compiler';
import { effectScope, nextTick, ref } from 'vue';

const CLIENT = path.dirname(path.dirname(fileURLToPath(import.meta.url)));

/** Topics that tell what they are asked, and say what they are told to. */
function fakeTopics() {
  const open = new Map();
  return {
    open,
    subscribe(selector, listener) {
      open.set(selector, listener);
      return { close: () => open.delete(selector) };
    },
  };
}

async function load(name) {
  const outfile = path.join(CLIENT, 'node_modules', '.recipes', `${name}.mjs`);
  await build({ entryPoints: [path.join(CLIENT, 'recipes', name)], outfile, bundle: true, format: 'esm', packages: 'external', logLevel: 'warning' });
  return import(outfile);
}

const sum = (state, { data }) => state + Number(data);

test('the recipes are what the types say', { timeout: 60_000 }, async () => {
  const tsc = path.join(CLIENT, 'node_modules/typescript/bin/tsc');
  await promisify(execFile)(process.execPath, [tsc, '-p', path.join(CLIENT, 'recipes')]).catch(({ stdout }) => assert.fail(stdout));
});

test('Vue: the state follows the topic, a new selector begins anew, the end is the end', async () => {
  const { useTopic } = await load('vue.ts');
  const topics = fakeTopics();
  const scope = effectScope();
  const selector = ref('a');
  const state = scope.run(() => useTopic(topics, selector, sum, 0));
  topics.open.get('a')({ data: '3' });
  topics.open.get('a')({ data: '4' });
  assert.equal(state.value, 7);
  selector.value = 'b';
  await nextTick();
  assert.deepEqual([[...topics.open.keys()], state.value], [['b'], 0]);
  scope.stop();
  assert.equal(topics.open.size, 0);
});

test('Svelte: it compiles as a module of runes', async () => {
  const source = await readFile(path.join(CLIENT, 'recipes/topic.svelte.ts'), 'utf8');
  const { code } = await transform(source, { loader: 'ts', target: 'esnext' });
  for (const generate of ['client', 'server']) {
    const { js, warnings } = compileModule(code, { filename: 'topic.svelte.js', generate });
    assert.deepEqual([warnings, js.code.includes('createSubscriber')], [[], true]);
  }
});
