// Questions to the hub that served this page. The key lives in this tab's session and goes out in a header, never in a URL.

const KEY = 'tidings-key';

export const session = $state({ key: sessionStorage.getItem(KEY) ?? '', who: null, asking: false });

export function useKey(key) {
  session.key = key;
  if (key) sessionStorage.setItem(KEY, key);
  else sessionStorage.removeItem(KEY);
  return refreshWho();
}

/** What the hub said, as it said it: a problem document, or why there was no answer. */
export class Refused extends Error {
  constructor(status, title, detail) {
    super(detail);
    this.status = status;
    this.title = title;
  }
}

export function headers(more = {}) {
  return session.key ? { ...more, authorization: `Bearer ${session.key}` } : more;
}

export async function refusal(response) {
  const text = await response.text().catch(() => '');
  try {
    const { title, detail } = JSON.parse(text);
    return new Refused(response.status, title ?? response.statusText, detail ?? text);
  } catch {
    return new Refused(response.status, response.statusText || 'Refused', text.slice(0, 500) || 'The hub gave no reason.');
  }
}

export async function ask(path, { method = 'GET', body, headers: more, signal } = {}) {
  let response;
  try {
    response = await fetch(path, { method, body, headers: headers(more), signal, cache: 'no-store' });
  } catch (error) {
    if (error.name === 'AbortError') throw error;
    throw new Refused(0, 'The hub does not answer', 'It is stopped, restarting, or not reachable from here.');
  }
  if (!response.ok) throw await refusal(response);
  const text = await response.text();
  return text === '' ? null : JSON.parse(text);
}

export const query = (pairs) => new URLSearchParams(pairs.filter(([, value]) => value !== '' && value !== null && value !== undefined)).toString();

export async function refreshWho() {
  try {
    session.who = await ask('/admin/whoami');
    return null;
  } catch (error) {
    session.who = null;
    return error;
  }
}

/** One page of history: events, oldest first, and where it goes on. */
export function history(selectors, { after, limit = 100, from, types = [], signal } = {}) {
  const pairs = [...selectors.map((selector) => ['topic', selector]), ...types.map((type) => ['event', type])];
  pairs.push(['format', 'json'], ['limit', limit], ['last_event_id', after], ['from', after ? '' : from]);
  return ask(`/events?${query(pairs)}`, { signal });
}

/** The last events of a topic: the log is read forwards, so look back twice as far until there are enough. */
export async function lastEvents(topic, lastPlace, wanted, { epoch, floor = 0, signal } = {}) {
  for (let back = wanted * 2; ; back *= 8) {
    const start = Math.max(floor, lastPlace - back);
    const after = `${epoch}.${start.toString(36)}`;
    let page = await history([topic], { after, limit: 500, signal });
    const events = page.events;
    while (page.more && events.length < 5_000) {
      page = await history([topic], { after: page.next, limit: 500, signal });
      events.push(...page.events);
    }
    if (events.length >= wanted || start <= floor || back > 1e12) return events.slice(-wanted);
  }
}
