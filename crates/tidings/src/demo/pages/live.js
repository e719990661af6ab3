// What the pages share: a stream with a switch, and what every page shows of it (its state, its last id, a button);
// publishing; a place to keep things. Whatever comes from the hub goes into textContent and nowhere else.

const STATES = ['connecting', 'open', 'closed'];

const byId = (id) => document.getElementById(id);

/** The browser's own. After a pause the page goes on exactly where it was; when only the network breaks, the browser
 * does this by itself, with the header Last-Event-ID. */
const browsers = (url, last) => {
  if (last) {
    url.searchParams.delete('from');
    url.searchParams.set('last_event_id', last);
  }
  return new EventSource(url);
};

/** Follows `url` from now on. `handlers` maps event types to functions that get the event; `make(url, lastId)` makes the
 * source, if not the browser's own. */
export function follow(url, handlers, make = browsers) {
  const state = byId('state');
  const lastId = byId('last-id');
  const button = byId('switch');
  let source = null;
  let last = '';
  let trouble = '';
  let due = false;

  // Once a frame, however many events come.
  const show = () => {
    if (due) return;
    due = true;
    requestAnimationFrame(() => {
      due = false;
      const name = STATES[source.readyState];
      state.textContent = name === 'open' || !trouble ? name : `${name}: ${trouble}`;
      state.dataset.state = name;
      button.textContent = name === 'closed' ? 'Connect' : 'Disconnect';
      if (lastId) lastId.textContent = last || 'none yet';
    });
  };

  const stream = {
    get last() {
      return last;
    },
    get readyState() {
      return source.readyState;
    },
    open(target = url) {
      url = target;
      source?.close();
      const mine = make(new URL(url, location.href), last);
      source = mine;
      trouble = '';
      source.addEventListener('open', () => {
        trouble = '';
        show();
      });
      source.addEventListener('error', (event) => {
        // The client says what it is, a browser does not.
        trouble = event.error?.message ?? '';
        show();
      });
      for (const [type, handle] of Object.entries(handlers)) {
        source.addEventListener(type, (event) => {
          if (source !== mine) return;
          last = event.lastEventId || last;
          handle(event);
          show();
        });
      }
      show();
    },
    close() {
      source.close();
      trouble = '';
      show();
    },
    /** Another place to go on from. */
    from(id) {
      last = id;
    },
  };

  button.addEventListener('click', () => (source.readyState === 2 ? stream.open() : stream.close()));
  stream.open();
  return stream;
}

/** What the hub says about a request that it refused: `403 The key does not grant this: …`. */
export async function problem(response) {
  const { title, detail } = await response.json().catch(() => ({}));
  return [`${response.status} ${title ?? response.statusText}`, detail].filter(Boolean).join(': ');
}

/** Publishes to a topic. Resolves when the hub has it, with the hub's answer; rejects with what the hub says. */
export async function publish(topic, data, { query = '', headers = {} } = {}) {
  const response = await fetch(`/topics/${topic}${query}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify(data),
  }).catch(() => {
    throw new Error('the hub cannot be reached');
  });
  if (!response.ok) throw new Error(await problem(response));
  return response.json();
}

/** A name that nobody else has. */
export function drawId() {
  const bytes = crypto.getRandomValues(new Uint8Array(10));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

const memory = new Map();

/** localStorage, or this page's memory where the browser blocks it. */
export const storage = {
  get(key) {
    try {
      return localStorage.getItem(key);
    } catch {
      return memory.get(key) ?? null;
    }
  },
  /** Whether it is kept over a reload. */
  set(key, value) {
    try {
      localStorage.setItem(key, value);
      return true;
    } catch {
      memory.set(key, value);
      return false;
    }
  },
};

/** JSON that says an object, or null: anybody may publish anything. */
export function readObject(text) {
  try {
    const value = JSON.parse(text);
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? value : null;
  } catch {
    return null;
  }
}

/** An element with a class and a text. */
export function element(name, className, text) {
  const made = document.createElement(name);
  made.className = className;
  made.textContent = text;
  return made;
}

/** A list that shows the newest entries first, and not more than fit a page. */
export class EventList {
  #list;
  #max;

  constructor(list, max = 100) {
    this.#list = list;
    this.#max = max;
  }

  add(id, text, className = 'data') {
    const item = document.createElement('li');
    item.append(element('span', 'id', id), element('span', className, text));
    this.#list.prepend(item);
    while (this.#list.children.length > this.#max) this.#list.lastElementChild.remove();
  }
}
