// The simplest stream there is. The first event is there at once: `from=last`.

import { EventList, follow } from './live.js';

const list = new EventList(document.getElementById('events'));

follow('/topics/demo/hello?from=last', {
  message: (event) => list.add(event.lastEventId, event.data),
  'tidings.gap': (event) => list.add('a gap', event.data, 'data gap'),
});
