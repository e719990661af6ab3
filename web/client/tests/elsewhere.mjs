// The suite in another runtime, by hand, since the tests do not install it:
//
//   TIDINGS_BIN=…/tidings deno run -A tests/elsewhere.mjs
//   TIDINGS_BIN=…/tidings bun tests/elsewhere.mjs

import process from 'node:process';
import { Hub } from '../../../tests/browser/hub.mjs';
import { startServer } from './server.mjs';
import { cases as hubCases } from './suite/hub.mjs';
import { cases as sourceCases } from './suite/source.mjs';

const CASE_MS_MAX = 30_000;

/** As in node.test.mjs. Deno tells it by an event, and by the other way, too. */
function throws() {
  let count = 0;
  const counted = (event) => {
    event.preventDefault?.();
    count += 1;
  };
  const by = 'Deno' in globalThis ? [globalThis, 'error'] : [process, 'uncaughtException'];
  (by[0].addEventListener ?? by[0].on).call(by[0], by[1], counted);
  return () => {
    (by[0].removeEventListener ?? by[0].off).call(by[0], by[1], counted);
    return count;
  };
}

const server = await startServer();
const hub = await Hub.start();
server.setHub(hub.url);
const cases = [...sourceCases, ...hubCases];
let failed = 0;
for (const [name, run] of cases) {
  const late = new Promise((_, reject) => setTimeout(() => reject(new Error('it does not end')), CASE_MS_MAX));
  try {
    await Promise.race([run({ base: server.url, hub: hub.url, throws }), late]);
  } catch (error) {
    failed += 1;
    console.log(`✖ ${name}\n${error.stack}`);
  }
}
console.log(`${cases.length - failed} passed, ${failed} failed`);
await hub.remove();
server.close();
process.exit(failed > 0 || cases.length === 0 ? 1 : 0);
