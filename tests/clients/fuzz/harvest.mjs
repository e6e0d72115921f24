// What earlier answers told: cursors and ids that exist, to ask further with.

const KEPT_MAX = 400;
const PLACES = ['cursor', 'startCursor', 'endCursor', 'liveCursor'];
const OTHERS = [
  'id',
  'deviceId',
  'siteId',
  'jobId',
  'eventId',
  'occurredAt',
  'endpoint',
  'errorMessage',
];

export const BEGINNING = `{
  sites(first: 20) { nodes { id siteId } }
  devices(first: 50) { edges { cursor node { id deviceId } } }
  jobs(first: 20) { edges { cursor node { id jobId } } }
  events(first: 100) { liveCursor nodes { cursor id eventId occurredAt } }
  old: events(first: 20, order: OLDEST_FIRST) { nodes { cursor id } }
}`;

export class Harvest {
  constructor() {
    this.kept = Object.fromEntries(['cursor', ...OTHERS].map((name) => [name, []]));
  }

  of(name) {
    return this.kept[name] ?? [];
  }

  #keep(name, value) {
    const kept = this.kept[name];
    if (kept.includes(value)) return;
    kept.push(value);
    if (kept.length > KEPT_MAX) kept.shift();
  }

  /** Takes from an answer what can be used again. Aliases have the name of their field in front. */
  take(value, key = '') {
    const name = key.replace(/_\d+$/, '');
    if (Array.isArray(value)) value.forEach((item) => this.take(item, key));
    else if (value !== null && typeof value === 'object') {
      Object.entries(value).forEach(([inner, item]) => this.take(item, inner));
    } else if (typeof value === 'string') {
      if (PLACES.includes(name)) this.#keep('cursor', value);
      else if (OTHERS.includes(name)) this.#keep(name, value);
    }
  }
}
