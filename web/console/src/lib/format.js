// Numbers, sizes, times and places as people read them. Pure.

const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];

export function bytes(value) {
  if (value === null || value === undefined || Number.isNaN(value)) return '–';
  let unit = 0;
  let shown = value;
  while (shown >= 1024 && unit < UNITS.length - 1) {
    shown /= 1024;
    unit += 1;
  }
  return `${unit === 0 ? Math.round(shown) : shown.toFixed(shown < 10 ? 2 : 1)} ${UNITS[unit]}`;
}

export function count(value) {
  if (value === null || value === undefined || Number.isNaN(value)) return '–';
  if (Math.abs(value) >= 1e6) return `${(value / 1e6).toFixed(2)} M`;
  if (Math.abs(value) >= 1e5) return `${(value / 1e3).toFixed(0)} k`;
  return Number.isInteger(value) ? value.toLocaleString('en') : value.toFixed(1);
}

export function micros(value) {
  if (value === null || value === undefined) return '–';
  if (value < 1000) return `${value} µs`;
  return value < 1e6 ? `${(value / 1000).toFixed(1)} ms` : `${(value / 1e6).toFixed(2)} s`;
}

export function duration(ms) {
  if (ms === null || ms === undefined) return '–';
  const seconds = Math.floor(ms / 1000);
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min ${seconds % 60} s`;
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `${hours} h ${minutes % 60} min` : `${Math.floor(hours / 24)} days ${hours % 24} h`;
}

export function clock(ms) {
  return new Date(ms).toLocaleTimeString('en-GB');
}

export function moment(ms) {
  const date = new Date(ms);
  return `${date.toLocaleDateString('sv')} ${date.toLocaleTimeString('en-GB')}`;
}

/** A position is EPOCH.SEQ in base 36; a publisher's id may follow. */
export function place(id) {
  const found = /^([0-9a-z]+)\.([0-9a-z]+)/.exec(id ?? '');
  return found ? { epoch: found[1], seq: Number.parseInt(found[2], 36) } : null;
}

export function position(epoch, seq) {
  return `${epoch}.${Math.max(0, Math.floor(seq)).toString(36)}`;
}

/** Bytes as a hex dump: offset, sixteen bytes, their text. */
export function hex(data, max = 4096) {
  const lines = [];
  const shown = data.subarray(0, max);
  for (let at = 0; at < shown.length; at += 16) {
    const row = [...shown.subarray(at, at + 16)];
    const left = row.map((byte) => byte.toString(16).padStart(2, '0')).join(' ');
    const right = row.map((byte) => (byte >= 32 && byte < 127 ? String.fromCharCode(byte) : '.')).join('');
    lines.push(`${at.toString(16).padStart(6, '0')}  ${left.padEnd(47)}  ${right}`);
  }
  if (data.length > max) lines.push(`… ${data.length - max} bytes more`);
  return lines.join('\n');
}
