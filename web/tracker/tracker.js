// Tells HOMEPOT Analytics what people do on a page: pages seen, buttons pressed, searches, forms sent.
//
//   <script defer src="https://analytics.example/tracker.js" data-key="hp_…"></script>
//
// or, without `data-key`, `homepot.init({ key })`. Then `homepot.track(name, properties)`,
// `homepot.identify(userId)` and `homepot.optOut()`. It sets no cookie, reads no value of a form, sends
// addresses without query and fragment, and does nothing for whoever asks not to be tracked.
(() => {
  'use strict';
  if (window.homepot) return;

  const IDLE_MS = 30 * 60_000; // of a session
  const SESSION_MS = 24 * 3_600_000;
  const BATCH_MS = 3_000;
  const BATCH_EVENTS = 20;
  const BATCH_BYTES = 60_000;
  const QUEUE_EVENTS = 500; // beyond that the oldest are dropped
  const TYPING_MS = 600;
  const ANSWER_MS = 30_000;
  const RETRY_MS = 1_000; // doubled with each failure
  const RETRY_MAX_MS = 300_000;
  const DEAD_MS = 60_000; // a tab that has not written its queue for so long
  const PREFIX = 'homepot.';

  const script = document.currentScript;
  const tab = PREFIX + 'queue.' + uuid();
  const memory = new Map(); // where the storage of the browser is shut
  let options; // of the last init
  let config; // the same while something is tracked
  let user;
  let seen; // the session of the last event
  let page;
  let queue = []; // the texts of events
  let beaconed = new Set(); // of these, those of which no answer is known
  let dropped = 0; // events of this page, of which those that come after tell
  let failures = 0;
  let notBefore = 0;
  let isHeld = false; // the server has said until when
  let isSending = false;
  let timer = 0;

  /** A random UUID, also where a page is not served securely. */
  function uuid() {
    if (crypto.randomUUID) return crypto.randomUUID();
    const bytes = crypto.getRandomValues(new Uint8Array(16));
    bytes[6] = (bytes[6] & 15) | 64;
    bytes[8] = (bytes[8] & 63) | 128;
    const hex = [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join('');
    return hex.replace(/(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-');
  }

  function read(name) {
    try {
      return JSON.parse(localStorage.getItem(name) ?? memory.get(name) ?? null);
    } catch {
      return JSON.parse(memory.get(name) ?? null);
    }
  }

  function write(name, value) {
    const text = JSON.stringify(value);
    try {
      localStorage.removeItem(name);
      if (text) localStorage.setItem(name, text);
      memory.delete(name);
    } catch {
      text ? memory.set(name, text) : memory.delete(name);
    }
  }

  function queues() {
    try {
      return Object.keys(localStorage).filter((name) => name.startsWith(PREFIX + 'queue.'));
    } catch {
      return [];
    }
  }

  const clip = (text, length) => String(text).slice(0, length).replace(/[\ud800-\udbff]$/, '');
  const bytes = (text) => new TextEncoder().encode(text).length;

  /** The session that goes on, or a new one. */
  function session(isNew) {
    const now = Date.now();
    let held = read(PREFIX + 'session');
    if (isNew || !held || Math.abs(now - held.last) > IDLE_MS || now - held.start > SESSION_MS) {
      held = { id: uuid(), start: now, user };
    } else if (seen && seen !== held.id) {
      user = held.user; // another tab has begun it, and knows who is there
    }
    seen = held.id;
    held.last = now;
    held.user = user ??= held.user;
    write(PREFIX + 'session', held);
    return held;
  }

  function save(at = Date.now()) {
    write(tab, queue.length ? { at, queue } : undefined);
  }

  /** Takes over what tabs have left that are gone. */
  function adopt() {
    for (const name of queues()) {
      const left = name !== tab && read(name);
      if (!left || Date.now() - left.at < DEAD_MS) continue;
      write(name);
      queue.unshift(...left.queue);
    }
    bound();
  }

  function bound(more = 0) {
    const surplus = queue.length + more - QUEUE_EVENTS;
    if (surplus > 0) {
      queue.splice(0, surplus);
      dropped += surplus;
    }
  }

  function address() {
    const { pageUrl } = config;
    return clip(pageUrl ? pageUrl() : location.origin + location.pathname, 2048);
  }

  function add(activityType, fields, extra) {
    if (!config) return;
    const held = session();
    bound(1);
    const event = {
      eventId: uuid(),
      occurredAt: new Date().toISOString(),
      sessionId: held.id,
      userId: held.user,
      activityType,
      pageUrl: address(),
      ...fields,
      extra: dropped ? { ...extra, dropped } : extra,
    };
    const text = JSON.stringify({ userActivity: event });
    if (bytes(text) > BATCH_BYTES) {
      dropped += 1;
      return;
    }
    queue.push(text);
    save();
    if (queue.length >= BATCH_EVENTS) flush();
    else later(BATCH_MS);
  }

  function later(ms) {
    timer ||= setTimeout(safe(flush), ms);
  }

  /** As much of some events as goes at once. */
  function batchOf(events) {
    let room = BATCH_BYTES;
    const batch = events.slice(0, BATCH_EVENTS);
    const end = batch.findIndex((text) => (room -= bytes(text) + 1) < 0);
    return end < 0 ? batch : batch.slice(0, end);
  }

  async function flush() {
    clearTimeout(timer);
    timer = 0;
    if (!config || isSending || !queue.length || notBefore === Infinity) return;
    const wait = notBefore - Date.now();
    if (wait > 0) return later(wait);
    const batch = batchOf(queue);
    const { key, endpoint } = config;
    isSending = true;
    let answer;
    try {
      answer = await fetch(endpoint, {
        method: 'POST',
        credentials: 'omit',
        signal: AbortSignal.timeout?.(ANSWER_MS),
        headers: {
          'content-type': 'application/json',
          ...(key && { authorization: 'Bearer ' + key }),
        },
        body: `{"events":[${batch}]}`,
      });
    } catch {
      // it is sent again
    }
    isSending = false;
    took(batch, answer);
    save();
    if (queue.length) later(queue.length < BATCH_EVENTS ? BATCH_MS : 0);
  }

  /** What becomes of a batch: each event is known by its id, so that it may be sent again. */
  function took(batch, answer) {
    const status = answer?.status ?? 0;
    if (status === 401 || status === 403) {
      notBefore = Infinity; // the key is none here; another may be when the page is loaded again
    } else if (!status || status === 408 || status === 429 || status >= 500) {
      const given = answer?.headers.get('retry-after');
      const asked = given * 1_000 || Date.parse(given) - Date.now() || 0;
      const own = Math.min(RETRY_MAX_MS, RETRY_MS * 2 ** failures) * (0.5 + Math.random() / 2);
      failures += 1;
      isHeld = asked > 0;
      notBefore = Date.now() + Math.max(asked, own);
    } else {
      if (!answer.ok) dropped += batch.length;
      failures = 0;
      queue = queue.filter((text) => !batch.includes(text));
      beaconed = new Set(queue.filter((text) => beaconed.has(text)));
    }
  }

  /** The page may go: what waits is handed to the browser, and kept until an answer is known. */
  function hide() {
    if (!config || Date.now() < notBefore) return;
    search.commit();
    const batch = batchOf(queue.filter((text) => !beaconed.has(text)));
    if (!batch.length) return;
    const body = JSON.stringify({ key: config.key || undefined, events: [] });
    const text = body.replace(/\[\]\}$/, `[${batch}]}`);
    // as text/plain, of which a browser need not ask beforehand
    const isTaken = navigator.sendBeacon?.(config.endpoint, text);
    if (!isTaken) {
      const sent = { method: 'POST', credentials: 'omit', keepalive: true, body: text };
      fetch(config.endpoint, sent).catch(() => {});
    }
    batch.forEach((event) => beaconed.add(event));
  }

  function view() {
    if (!config || page === address()) return;
    page = address();
    search.last = undefined;
    add('PAGE_VIEW');
  }

  function click({ target }) {
    const element = target.closest?.('[data-track]');
    if (element) add('BUTTON_CLICK', { elementId: clip(element.dataset.track || element.id, 255) });
  }

  function submit({ target }) {
    const names = [...target.elements].map((element) => element.name).filter(Boolean);
    const id = target.getAttribute('id') ?? target.getAttribute('name');
    const fields = [...new Set(names)].slice(0, 50).map((name) => clip(name, 100));
    add('FORM_SUBMIT', { elementId: id === null ? undefined : clip(id, 255) }, { fields });
  }

  const search = {
    wait: 0,
    typed({ target }) {
      if (!target.matches?.('input[type=search], [data-track-search]')) return;
      clearTimeout(search.wait);
      search.element = target;
      search.wait = setTimeout(safe(search.commit), TYPING_MS);
    },
    commit() {
      clearTimeout(search.wait);
      const { element } = search;
      search.element = undefined;
      const typed = element?.value.trim();
      if (!typed || typed === search.last) return;
      search.last = typed;
      const query = config?.redact ? config.redact(typed) : typed;
      const { id } = element;
      if (query) add('SEARCH_QUERY', { searchQuery: clip(query, 1000), elementId: clip(id, 255) || undefined });
    },
  };

  /** What fails here is nothing to the page. */
  function safe(body) {
    return (...given) => {
      try {
        const done = body(...given);
        done?.catch?.(() => {});
        return done;
      } catch {
        return undefined;
      }
    };
  }

  function listen() {
    listen = () => {};
    for (const name of ['pushState', 'replaceState']) {
      const change = history[name];
      history[name] = function (...given) {
        change.apply(this, given);
        safe(view)();
      };
    }
    const on = (target, type, body) => target.addEventListener(type, safe(body), true);
    on(window, 'popstate', view);
    on(document, 'click', click);
    on(document, 'submit', submit);
    on(document, 'input', search.typed);
    on(document, 'change', search.commit);
    on(document, 'visibilitychange', () => (document.hidden ? hide() : flush()));
    on(window, 'pagehide', () => {
      hide();
      if (config) save(0);
    });
    on(window, 'pageshow', () => config && save());
    // another tab has opted out
    on(window, 'storage', ({ key, newValue }) => key === PREFIX + 'out' && newValue && homepot.optOut());
    on(window, 'online', () => {
      if (!isHeld && notBefore < Infinity) notBefore = 0;
      return flush();
    });
  }

  function isUnwanted() {
    const { doNotTrack, globalPrivacyControl } = navigator;
    const isAsked = doNotTrack === '1' || globalPrivacyControl === true;
    return read(PREFIX + 'out') || (isAsked && options.respectSignals !== false);
  }

  window.homepot = {
    /**
     * Begins, and tells whether: `key`, and if need be `endpoint`, `pageUrl` (gives the address that is
     * sent), `redact` (gives what is sent of a search; nothing, to send none), and `respectSignals: false`
     * to track also whoever sends Do Not Track or Global Privacy Control, having asked them.
     */
    init: safe((given) => {
      const endpoint = script && new URL('/api/v1/analytics/user-activity', script.src).href;
      options = { endpoint, ...given };
      config = undefined;
      if (isUnwanted()) return false;
      config = options;
      notBefore = failures = 0;
      listen();
      adopt();
      view();
      if (queue.length) later(BATCH_MS);
      return true;
    }),
    track: safe((name, properties) => add('OTHER', { name: clip(name, 255) }, properties)),
    /** Names the user from now on; without one, nobody. Whoever follows another has a new session. */
    identify: safe((id) => {
      if (!config) return;
      const last = session().user;
      user = id === undefined || id === null ? undefined : clip(id, 255);
      if (last !== undefined && last !== user) session(true);
      else session();
    }),
    /** Tracks nothing more in this browser and forgets what waits; `optOut(false)` takes it back. */
    optOut: safe((isOut = true) => {
      write(PREFIX + 'out', isOut || undefined);
      if (!isOut) return options && homepot.init(options);
      config = user = page = undefined;
      queue = [];
      [tab, PREFIX + 'session', ...queues()].forEach((name) => write(name));
      return undefined;
    }),
  };
  if (script?.dataset.key !== undefined) homepot.init({ key: script.dataset.key });
})();
