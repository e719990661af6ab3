// An EventSource with a switch, and what every page of the demo shows of it: its state, its last id, a button.
// Whatever comes from the stream goes into textContent and nowhere else.

const STATES = ['connecting', 'open', 'closed'];

/** Follows `url` from now on. `handlers` maps event types to functions that get the event. */
export function follow(url, handlers) {
  const state = document.getElementById('state');
  const lastId = document.getElementById('last-id');
  const button = document.getElementById('switch');
  let source = null;
  let last = '';

  const show = () => {
    const name = STATES[source.readyState];
    state.textContent = name;
    state.dataset.state = name;
    button.textContent = name === 'closed' ? 'Connect' : 'Disconnect';
    lastId.textContent = last || 'none yet';
  };

  const connect = () => {
    const target = new URL(url, location.href);
    // After a pause the page goes on exactly where it was. (When only the network breaks, the browser does this by
    // itself, with the header Last-Event-ID.)
    if (last) {
      target.searchParams.delete('from');
      target.searchParams.set('last_event_id', last);
    }
    source = new EventSource(target);
    source.onopen = show;
    source.onerror = show;
    for (const [type, handle] of Object.entries(handlers)) {
      source.addEventListener(type, (event) => {
        last = event.lastEventId;
        handle(event);
        show();
      });
    }
    show();
  };

  button.addEventListener('click', () => {
    if (source.readyState === EventSource.CLOSED) {
      connect();
    } else {
      source.close();
      show();
    }
  });
  connect();
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
