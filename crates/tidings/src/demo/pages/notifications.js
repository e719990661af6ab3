// An inbox behind a key. First what is kept, then what comes after it, so the page knows old from new; what was read is
// remembered as the id of the last event that was seen.

import { EventSource, patient } from './client/index.js';
import { element, problem, publish, readObject, storage } from './live.js';

const KEPT_MAX = 50;
const OLD_KEY = 'tdk_an_old_key_that_no_hub_knows';

const byId = (id) => document.getElementById(id);
const titleBefore = document.title;
let keys = null;
let source = null;
/** Oldest first. */
let events = [];

const readKey = () => `tidings read ${byId('inbox').value}`;
const topic = (user) => `demo/users/${user}/inbox`;

/** The headers of whom we are; with fresh keys if the last ones were not known. */
async function headers({ status } = {}) {
  const user = byId('user').value;
  if (user === 'nobody') return {};
  if (user === 'stranger') return { authorization: `Bearer ${OLD_KEY}` };
  if (keys === null || status === 401) keys = await fetch('/demo/keys.json').then((answer) => answer.json());
  return { authorization: `Bearer ${keys[user]}` };
}

/** A request with our key, once more if the hub has new ones. */
async function ask(url, init = {}) {
  const once = async (status) => fetch(url, { ...init, headers: { ...init.headers, ...(await headers({ status })) } });
  const response = await once();
  return response.status === 401 ? once(401) : response;
}

function tell(state, text = state) {
  byId('state').dataset.state = state;
  byId('state').textContent = text;
}

/** How many of the newest were not read: all behind the one that was read last. */
function unread() {
  const seen = storage.get(readKey());
  return events.length - 1 - events.findIndex(({ id }) => id === seen);
}

function show() {
  const count = unread();
  const rows = events.map(({ id, data }, at) => {
    const said = readObject(data);
    const item = element('li', at >= events.length - count ? 'unread' : '', '');
    item.dataset.id = id;
    const [from, text] = [said?.from, said?.text].map((value) => (typeof value === 'string' ? value : null));
    item.append(element('strong', 'name', from ?? 'somebody'), ' ', element('span', 'text', (text ?? data).slice(0, 500)));
    return item;
  });
  // Only what is new is added, so that a screen reader says only that.
  const list = byId('list');
  const there = new Map([...list.children].map((item) => [item.dataset.id, item]));
  for (const row of rows) {
    const old = there.get(row.dataset.id);
    if (old) old.className = row.className;
    else list.prepend(row);
    there.delete(row.dataset.id);
  }
  for (const gone of there.values()) gone.remove();
  byId('none').hidden = events.length > 0;
  byId('unread').textContent = String(count);
  byId('read').disabled = count === 0;
  document.title = count > 0 ? `(${count}) ${titleBefore}` : titleBefore;
}

function add({ id, data }) {
  if (events.some((event) => event.id === id)) return;
  events = [...events, { id, data }].slice(-KEPT_MAX);
}

function aloud(id, data) {
  if (!('Notification' in window) || Notification.permission !== 'granted') return;
  const said = readObject(data);
  try {
    // Several tabs say the same one once.
    new Notification(String(said?.from ?? 'Tidings'), { body: String(said?.text ?? data).slice(0, 200), tag: id });
  } catch {
    // Some browsers show notifications of service workers only.
  }
}

async function open() {
  source?.close();
  source = null;
  events = [];
  show();
  tell('connecting');
  const wanted = topic(byId('inbox').value);
  const round = (open.round = (open.round ?? 0) + 1);
  const response = await ask(`/topics/${wanted}?format=json&limit=${KEPT_MAX}`).catch(() => null);
  if (round !== open.round) return;
  if (response === null) {
    tell('connecting', 'connecting: the hub cannot be reached');
    return void setTimeout(() => round === open.round && open(), 2_000);
  }
  if (!response.ok) return tell('closed', await problem(response));
  const page = await response.json();
  if (round !== open.round) return;
  page.events.forEach(add);
  show();

  const mine = new EventSource(`/topics/${wanted}`, { ...patient, headers, lastEventId: page.next });
  source = mine;
  mine.onopen = () => source === mine && tell('open');
  mine.onmessage = ({ data, lastEventId: id }) => {
    if (source !== mine) return;
    add({ id, data });
    show();
    aloud(id, data);
  };
  mine.onerror = ({ error }) => {
    if (source !== mine) return;
    if (mine.readyState === 2) tell('closed', error.message);
    else tell('connecting', `connecting: ${error.message}`);
  };
}

byId('user').addEventListener('change', () => {
  // Who changes reads his own inbox first.
  if (['ada', 'ben'].includes(byId('user').value)) byId('inbox').value = byId('user').value;
  byId('to').value = byId('user').value === 'ben' ? 'ada' : 'ben';
  open();
});
byId('inbox').addEventListener('change', open);

byId('read').addEventListener('click', () => {
  const kept = events.length === 0 || storage.set(readKey(), events.at(-1).id);
  byId('said').textContent = kept ? '' : 'This browser keeps nothing for this page: after a reload all is unread again.';
  show();
});
addEventListener('storage', show);

byId('form').addEventListener('submit', async (event) => {
  event.preventDefault();
  const [from, to, text] = [byId('user').selectedOptions[0].text, byId('to').value, byId('text').value.trim()];
  if (!text) return;
  try {
    const send = async (status) => publish(topic(to), { from, text }, { query: '?private', headers: await headers({ status }) });
    await send().catch((error) => (error.message.startsWith('401') ? send(401) : Promise.reject(error)));
    byId('said').textContent = 'sent';
    byId('text').value = '';
  } catch (error) {
    byId('said').textContent = `not sent: ${error.message}`;
  }
});

function showAllowed() {
  const state = 'Notification' in window ? Notification.permission : 'missing';
  const texts = { granted: 'Notifications are on', denied: 'Notifications are blocked', missing: 'No notifications in this browser' };
  byId('allow').textContent = texts[state] ?? 'Allow browser notifications';
  byId('allow').disabled = state in texts;
}
byId('allow').addEventListener('click', async () => {
  await Notification.requestPermission();
  showAllowed();
});
showAllowed();
open();
