// Every topic in one connection. Events with a type of their own (the monitor's) go to pages that ask for them.

import { EventList, follow } from './live.js';

document.getElementById('curl').textContent = `curl -d 'hello' ${location.origin}/topics/news`;

const list = new EventList(document.getElementById('events'));

follow('/events?topic=**&label', {
  message(event) {
    const { topic, data } = JSON.parse(event.data);
    list.add(topic, data);
  },
  'tidings.gap': (event) => list.add('a gap', event.data, 'data gap'),
});
