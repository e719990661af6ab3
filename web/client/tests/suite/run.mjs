// Runs a case by its number, in a page (called from outside) or in a worker (by message).

import { cases as hubCases } from './hub.mjs';
import { cases as indexedDbCases } from './indexeddb.mjs';
import { cases as sourceCases } from './source.mjs';
import { cases as wakeCases } from './wake.mjs';

const cases = [...sourceCases, ...hubCases, ...indexedDbCases, ...wakeCases];

function throws() {
  let count = 0;
  const counted = (event) => {
    event.preventDefault();
    count += 1;
  };
  globalThis.addEventListener('error', counted);
  return () => {
    globalThis.removeEventListener('error', counted);
    return count;
  };
}

async function run(number, context) {
  try {
    await cases[number][1]({ ...context, throws });
    return '';
  } catch (error) {
    return `${error}\n${error.stack}`;
  }
}

globalThis.runCase = run;
if (globalThis.document === undefined) {
  globalThis.onmessage = async ({ data: [number, context] }) => globalThis.postMessage(await run(number, context));
  globalThis.postMessage('ready');
}
