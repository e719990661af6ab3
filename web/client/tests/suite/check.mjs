// What the cases need in Node, in a page and in a worker alike: assertions, waiting, scripts of the server.

export function equal(found, expected, about = '') {
  const [a, b] = [JSON.stringify(found), JSON.stringify(expected)];
  if (a !== b) throw new Error(`${about} found ${a?.slice(0, 2_000)}, expected ${b?.slice(0, 2_000)}`);
}

export function ok(condition, about) {
  if (!condition) throw new Error(about);
}

export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Waits until `condition()` holds; `show()` is told if it never does. */
export async function until(about, condition, show = () => '', ms = 15_000) {
  const end = performance.now() + ms;
  while (!(await condition())) {
    if (performance.now() > end) throw new Error(`waited ${ms} ms for ${about}; ${JSON.stringify(show())?.slice(0, 2_000)}`);
    await sleep(10);
  }
}

/** A URL that answers as scripted: `[{status, headers, body: [text | ms], end}]`, the last one for ever. */
export async function script(base, ...answers) {
  const id = await (await fetch(`${base}/script`, { method: 'POST', body: JSON.stringify(answers) })).text();
  return {
    url: `${base}/s/${id}`,
    seen: async () => (await fetch(`${base}/seen/${id}`)).json(),
  };
}

/** All that a source tells, in order. */
export function watch(source, types = []) {
  const log = [];
  source.onopen = () => log.push('open');
  source.onerror = (event) => log.push(`error ${event.error?.code} ${source.readyState}`);
  const told = (event) => log.push(`${event.type} ${event.data} ${event.lastEventId}`);
  source.onmessage = told;
  for (const type of types) source.addEventListener(type, told);
  return log;
}
