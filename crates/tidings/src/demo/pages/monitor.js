// Named events of one topic, each to its tile.

import { element, follow } from './live.js';

const POINTS = 120;

const show = (id, text) => {
  document.getElementById(id).textContent = text;
};

/** A line over the last two minutes, the newest value at the right edge. */
class Chart {
  #line;
  #area;
  #values = [];
  #atLeast;

  constructor(id, atLeast) {
    const svg = document.getElementById(id);
    const make = (name) => document.createElementNS('http://www.w3.org/2000/svg', name);
    this.#area = make('polygon');
    this.#line = make('polyline');
    svg.append(this.#area, this.#line);
    this.#atLeast = atLeast;
  }

  add(value) {
    this.#values.push(value);
    if (this.#values.length > POINTS + 1) this.#values.shift();
    const top = Math.max(this.#atLeast, ...this.#values) * 1.05;
    const first = POINTS - this.#values.length + 1;
    const points = this.#values.map((value, n) => `${first + n},${(40 - (value / top) * 38).toFixed(2)}`);
    this.#line.setAttribute('points', points.join(' '));
    this.#area.setAttribute('points', `${first},40 ${points.join(' ')} ${POINTS},40`);
  }
}

const charts = {
  load: new Chart('load-chart', 1),
  cpu: new Chart('cpu-chart', 100),
  memory: new Chart('memory-chart', 1),
  connections: new Chart('connections-chart', 4),
  requests: new Chart('requests-chart', 4),
};

const bytes = (count) => {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let unit = 0;
  let left = count;
  while (left >= 1024 && unit < units.length - 1) {
    left /= 1024;
    unit += 1;
  }
  return `${left.toFixed(unit > 2 ? 1 : 0)} ${units[unit]}`;
};

const duration = (seconds) => {
  const parts = [];
  const days = Math.floor(seconds / 86400);
  if (days) parts.push(`${days} d`);
  if (seconds >= 3600) parts.push(`${Math.floor(seconds / 3600) % 24} h`);
  if (seconds >= 60 && !days) parts.push(`${Math.floor(seconds / 60) % 60} min`);
  if (seconds < 3600) parts.push(`${seconds % 60} s`);
  return parts.join(' ');
};

function machine(event) {
  const now = JSON.parse(event.data);
  if (now.load) {
    const [one, five, fifteen] = now.load.map((load) => load.toFixed(2));
    show('load', one);
    show('load-more', `${five} over 5 min, ${fifteen} over 15 min`);
    charts.load.add(now.load[0]);
  } else {
    show('load-more', 'not counted on this system');
  }

  show('cpu', `${now.cpu_percent.toFixed(1)} %`);
  show('cpu-more', `of ${now.cores} cores`);
  charts.cpu.add(now.cpu_percent);

  const share = now.memory_total_bytes ? now.memory_used_bytes / now.memory_total_bytes : 0;
  show('memory', `${(share * 100).toFixed(1)} %`);
  show('memory-more', `${bytes(now.memory_used_bytes)} of ${bytes(now.memory_total_bytes)}`);
  document.getElementById('memory-meter').value = share;
  charts.memory.add(share);

  if (now.uptime_seconds !== null) show('uptime-more', `the machine: ${duration(now.uptime_seconds)}`);
  show('processes', `${now.processes} altogether`);
  document.getElementById('top').replaceChildren(
    ...now.top.map((process) => {
      const row = document.createElement('tr');
      row.append(
        element('td', '', process.name),
        element('td', 'number', process.pid),
        element('td', 'number', `${process.cpu_percent.toFixed(1)} %`),
        element('td', 'number', bytes(process.memory_bytes)),
      );
      return row;
    }),
  );
}

let before = null;

follow('/topics/demo/monitor?from=last', {
  machine,
  connections(event) {
    const now = JSON.parse(event.data);
    show('connections', now.open);
    show('connections-more', `subscribers: ${now.subscribers}; accepted since the start: ${now.accepted}`);
    charts.connections.add(now.open);
  },
  requests(event) {
    const now = JSON.parse(event.data);
    show('requests', now.total);
    show('requests-more', `streams: ${now.streams}, publishes: ${now.publishes}, events: ${now.events}`);
    // A hub that was restarted counts from 0 again.
    if (before !== null && now.total >= before) charts.requests.add(now.total - before);
    before = now.total;
  },
  uptime(event) {
    show('uptime', duration(JSON.parse(event.data).seconds));
  },
});
