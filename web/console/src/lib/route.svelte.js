// Where somebody is: the part of the address behind #. Links are plain links, and going back works.

function read() {
  const [path, search = ''] = location.hash.replace(/^#\/?/, '').split('?');
  return { page: path || 'overview', query: Object.fromEntries(new URLSearchParams(search)) };
}

export const route = $state(read());

addEventListener('hashchange', () => Object.assign(route, read()));

export const link = (page, pairs = {}) => {
  const search = new URLSearchParams(pairs).toString();
  return `#/${page}${search && `?${search}`}`;
};

export const go = (page, pairs) => {
  location.hash = link(page, pairs);
};
