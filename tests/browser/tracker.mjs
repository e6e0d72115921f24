// Opens pages with the tracker in Chromium, does on them what people do, and reads from the server what was
// recorded of it: on the pages of a running demo, and on pages of other origins by a key for them.
//
//   npm install --no-package-lock
//   node tracker.mjs http://127.0.0.1:8080 ../../target/debug/homepot-analytics 8090
//
// The arguments are the demo, the program, and a free port. Prints a line per check; exits
// 0 only if every check passed. HOMEPOT_TEST_CHROMIUM names another browser.

import { execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';

import * as checks from '../checks.mjs';
import { launch, reason } from './browser.mjs';

const { assert, assertEqual, soon } = checks;

const LIMIT_MS = 30_000;
const LOOK_MS = 100;
const PATH = '/api/v1/analytics/user-activity';
const SENT = `**${PATH}`;

const [demo, program, port] = process.argv.slice(2);
if (!URL.canParse(demo ?? '') || !program || !/^\d+$/.test(port ?? '')) {
  console.error('usage: node tracker.mjs http://127.0.0.1:PORT PROGRAM PORT');
  process.exit(2);
}
const home = new URL(demo).origin;
const began = new Date().toISOString();
const closed = `http://127.0.0.1:${port}`;

const check = (name, body) => checks.check(name, body, reason);

/** The data of a query. */
async function ask(origin, query, key) {
  const headers = { 'content-type': 'application/json', ...(key && { authorization: `Bearer ${key}` }) };
  const body = JSON.stringify({ query });
  const response = await fetch(`${origin}/graphql`, { method: 'POST', headers, body });
  const { data, errors } = await response.json();
  assert(!errors, JSON.stringify(errors));
  return data;
}

const FIELDS = 'activityType name pageUrl elementId searchQuery sessionId userId extra';

/** What was recorded since this began, the first first. */
async function recorded(origin = home, key = undefined) {
  const filter = `{ occurredAt: { gte: "${began}" } }`;
  const list = `userActivity(first: 1000, filter: ${filter}) { nodes { ${FIELDS} } }`;
  return (await ask(origin, `{ ${list} }`, key)).userActivity.nodes.reverse();
}

/** What of it is so, once there is something. */
function awaited(what, isSo, read = recorded) {
  const look = async () => {
    for (;;) {
      const found = (await read()).filter(isSo);
      if (found.length) return found;
      await new Promise((again) => setTimeout(again, LOOK_MS));
    }
  };
  return soon(look(), what, LIMIT_MS);
}

/** A page of a browser that has not been here. */
async function visitor(browser, prepare) {
  const context = await browser.newContext();
  const page = await context.newPage();
  page.setDefaultTimeout(LIMIT_MS);
  if (prepare) await page.addInitScript(prepare);
  page.sent = [];
  page.on('request', (request) => {
    if (new URL(request.url()).pathname === PATH) page.sent.push(request);
  });
  return page;
}

const sessionOf = (page) => page.evaluate(() => JSON.parse(localStorage['homepot.session']).id);
const stored = (page) =>
  page.evaluate(() => Object.keys(localStorage).filter((name) => name.startsWith('homepot.')));
const track = (page, name, properties) =>
  page.evaluate(([name, properties]) => window.homepot.track(name, properties), [name, properties]);

/** Counts the beacons that the browser has taken of a page: some are sent when it is gone. */
function countBeacons() {
  const send = navigator.sendBeacon;
  navigator.sendBeacon = function (...given) {
    const isTaken = send.apply(this, given);
    sessionStorage.beacons = Number(sessionStorage.beacons ?? 0) + Number(isTaken);
    return isTaken;
  };
}

async function checkPages(browser) {
  const page = await visitor(browser, countBeacons);
  let session;
  await check('a page that is opened is seen', async () => {
    await page.goto(`${home}/?token=secret#secret`);
    session = await sessionOf(page);
    const [view] = await awaited('view', (event) => event.sessionId === session);
    assertEqual([view.activityType, view.pageUrl, view.userId], ['PAGE_VIEW', `${home}/`, null]);
  });
  await check('so is one that a program moves on to, once', async () => {
    await page.evaluate(() => {
      history.pushState(null, '', '/devices?filter=secret');
      history.replaceState(null, '', '/devices?filter=other');
    });
    const isIt = (event) => event.sessionId === session && event.pageUrl === `${home}/devices`;
    assertEqual((await awaited('view', isIt)).length, 1);
  });
  await check('a button is pressed, and told by a beacon as the page is left', async () => {
    await page.getByRole('link', { name: 'GraphiQL' }).click();
    await page.waitForURL(`${home}/graphiql`);
    const isIt = (event) => event.sessionId === session && event.activityType === 'BUTTON_CLICK';
    const [click] = await awaited('click', isIt);
    assertEqual(click.elementId, 'graphiql');
    assertEqual(await page.evaluate(() => sessionStorage.beacons), '1');
  });
  await check('the next page goes on with the session, and repeats are known', async () => {
    const isIt = (event) => event.sessionId === session && event.pageUrl === `${home}/graphiql`;
    await awaited('view', isIt);
    await page.waitForFunction(() => !Object.keys(localStorage).some((name) => name.includes('queue')));
    const clicks = (await recorded()).filter(
      (event) => event.sessionId === session && event.activityType === 'BUTTON_CLICK',
    );
    assertEqual(clicks.length, 1);
  });
  await page.context().close();
}

async function checkInputs(browser) {
  const page = await visitor(browser);
  await page.goto(home);
  await page.evaluate(() => {
    homepot.init({ key: '', redact: (query) => query.replace(/\d+/g, '#') });
    homepot.identify('ada');
    document.body.insertAdjacentHTML(
      'beforeend',
      '<input type="search" id="q"><form id="order"><input name="card"><input name="note" type="password">' +
        '<button>Order</button></form>',
    );
    document.forms.order.addEventListener('submit', (event) => event.preventDefault());
  });
  const session = await sessionOf(page);
  const ofType = (type) => (event) => event.sessionId === session && event.activityType === type;
  await check('a search is told once it is typed, as the page has it redacted', async () => {
    await page.locator('#q').pressSequentially('till 4711', { delay: 30 });
    const searches = await awaited('search', ofType('SEARCH_QUERY'));
    assertEqual(
      searches.map(({ searchQuery, elementId, userId }) => [searchQuery, elementId, userId]),
      [['till #', 'q', 'ada']],
    );
  });
  await check('a form is told with the names of its fields, and never with a value', async () => {
    await page.locator('[name=card]').fill('4929000000006');
    await page.locator('[name=note]').fill('my secret');
    await page.getByRole('button', { name: 'Order' }).click();
    const [form] = await awaited('form', ofType('FORM_SUBMIT'));
    assertEqual([form.elementId, form.extra], ['order', { fields: ['card', 'note'] }]);
    const bodies = page.sent.map((request) => request.postData()).join();
    assert(!bodies.includes('4929') && !bodies.includes('my secret'), 'a value was sent');
  });
  await check('what a page tracks by name has its properties', async () => {
    await track(page, 'scanned', { items: 3 });
    const [event] = await awaited('event', ofType('OTHER'));
    assertEqual([event.name, event.extra], ['scanned', { items: 3 }]);
  });
  await check('another user has another session', async () => {
    await page.evaluate(() => homepot.identify('grace'));
    await track(page, 'of another');
    const [event] = await awaited('event', ({ name }) => name === 'of another');
    assertEqual(event.userId, 'grace');
    assert(event.sessionId !== session, 'the session went on');
  });
  await page.context().close();
}

async function checkFailures(browser) {
  const page = await visitor(browser);
  await page.goto(home);
  await check('what cannot be sent waits, and is sent once it can be', async () => {
    await page.context().setOffline(true);
    await track(page, 'while offline');
    await page.waitForEvent('requestfailed');
    const isIt = ({ name }) => name === 'while offline';
    assertEqual((await recorded()).filter(isIt).length, 0);
    await page.context().setOffline(false);
    assertEqual((await awaited('event', isIt)).length, 1);
  });
  await check('a server that asks to wait is not asked before', async () => {
    const times = [];
    await page.route(SENT, (route) => {
      times.push(Date.now());
      if (times.length > 1) return route.continue();
      return route.fulfill({ status: 429, headers: { 'retry-after': '4' } });
    });
    await track(page, 'after a while');
    await awaited('event', ({ name }) => name === 'after a while');
    await page.unroute(SENT);
    assert(times[1] - times[0] >= 4_000, `it was asked after ${times[1] - times[0]} ms`);
  });
  await check('no more waits than there is room for, and what was dropped is told', async () => {
    await page.context().setOffline(true);
    await page.evaluate(() => {
      for (let index = 0; index < 510; index += 1) homepot.track('many', { index });
    });
    const waiting = await page.evaluate(() => {
      const name = Object.keys(localStorage).find((name) => name.startsWith('homepot.queue.'));
      return JSON.parse(localStorage[name]).queue.length;
    });
    assertEqual(waiting, 500);
    await page.context().setOffline(false);
    const isIt = ({ name, extra }) => name === 'many' && extra.index === 509;
    const [last] = await awaited('event', isIt);
    assertEqual(last.extra.dropped, 10);
    const many = (await recorded()).filter(({ name }) => name === 'many');
    assertEqual(many.length, 500);
  });
  await check('what a tab has left that is gone is sent by another', async () => {
    await page.evaluate(() => {
      const event = { eventId: crypto.randomUUID(), activityType: 'OTHER', name: 'left behind' };
      const queue = [JSON.stringify({ userActivity: event })];
      localStorage['homepot.queue.gone'] = JSON.stringify({ at: 0, queue });
    });
    await page.goto(`${home}/graphiql`);
    assertEqual((await awaited('event', ({ name }) => name === 'left behind')).length, 1);
  });
  await page.context().close();
  await check('a page without storage is tracked too', async () => {
    const shut = await visitor(browser, () => {
      Object.defineProperty(window, 'localStorage', {
        get() {
          throw new Error('shut');
        },
      });
    });
    await shut.goto(home);
    await track(shut, 'without storage');
    await awaited('event', ({ name }) => name === 'without storage');
    await shut.context().close();
  });
}

async function checkWishes(browser) {
  const wishes = {
    'Global Privacy Control': () => {
      Object.defineProperty(Navigator.prototype, 'globalPrivacyControl', { get: () => true });
    },
    'Do Not Track': () => {
      Object.defineProperty(Navigator.prototype, 'doNotTrack', { get: () => '1' });
    },
  };
  for (const [name, wish] of Object.entries(wishes)) {
    await check(`${name} is honoured: nothing is sent or stored`, async () => {
      const page = await visitor(browser, wish);
      await page.goto(home);
      assertEqual(await page.evaluate(() => homepot.init({ key: '' })), false);
      await track(page, 'unwanted');
      await page.goto(`${home}/graphiql`);
      assertEqual([page.sent.length, await stored(page)], [0, []]);
      await page.context().close();
    });
  }
  await check('whoever opts out is forgotten, also by the next page, until they opt in', async () => {
    const page = await visitor(browser);
    await page.goto(home);
    await page.evaluate(() => homepot.optOut());
    await track(page, 'unwanted');
    await page.goto(`${home}/graphiql`);
    assertEqual([page.sent.length, await stored(page)], [0, ['homepot.out']]);
    await page.evaluate(() => homepot.optOut(false));
    await track(page, 'wanted again');
    await awaited('event', ({ name }) => name === 'wanted again');
    assertEqual((await recorded()).filter(({ name }) => name === 'unwanted').length, 0);
    await page.context().close();
  });
}

/** A server that lets in only who has a key; a key for pages of the shop, and one that reads. */
async function serve(folder, shop) {
  const database = ['--database', `sqlite://${join(folder, 'tracker.db')}`];
  const create = (...more) => {
    const given = ['key', 'create', '--name', 'browser', ...more, ...database];
    return execFileSync(resolve(program), given, { encoding: 'utf8' }).split('\n')[0];
  };
  const bound = ['--kind', 'userActivity', '--origin', shop];
  const keys = { page: create('--role', 'INGEST', ...bound), admin: create('--role', 'ADMIN') };
  const given = ['serve', '--listen', new URL(closed).host, ...database];
  const server = spawn(resolve(program), given, { stdio: ['ignore', 'pipe', 'inherit'] });
  await soon(new Promise((ready) => server.stdout.once('data', ready)), 'listening server');
  server.stdout.resume();
  return { server, keys };
}

/** Pages of another origin; the first has the tracker, with the key that is given later. */
async function pagesOfAnother() {
  const pages = { key: '' };
  pages.server = createServer((request, response) => {
    const script = `<script defer src="${closed}/tracker.js" data-key="${pages.key}"></script>`;
    const html = `<!doctype html><title>Shop</title>${script}<button data-track="buy">Buy</button>`;
    response.setHeader('content-type', 'text/html');
    response.end(request.url === '/other' ? '<!doctype html><title>Other</title>' : html);
  });
  await new Promise((ready) => pages.server.listen(0, '127.0.0.1', ready));
  pages.origin = `http://127.0.0.1:${pages.server.address().port}`;
  return pages;
}

async function checkOrigins(browser, keys, [shop, elsewhere]) {
  const read = () => recorded(closed, keys.admin);
  await check('a page of another origin is tracked by a key for it', async () => {
    const page = await visitor(browser);
    await page.goto(shop);
    const isIt = ({ activityType, pageUrl }) => activityType === 'PAGE_VIEW' && pageUrl === `${shop}/`;
    assertEqual((await awaited('view', isIt, read)).length, 1);
    await page.getByRole('button', { name: 'Buy' }).click();
    await page.goto(`${shop}/other`);
    const [click] = await awaited('click', ({ activityType }) => activityType === 'BUTTON_CLICK', read);
    assertEqual(click.elementId, 'buy');
    await page.context().close();
  });
  await check('a page elsewhere is not, although it has the key', async () => {
    const page = await visitor(browser);
    const isRefused = page.waitForEvent('requestfailed', (request) => request.url().endsWith(PATH));
    await page.goto(elsewhere);
    await isRefused;
    assertEqual((await read()).filter(({ pageUrl }) => pageUrl?.startsWith(elsewhere)).length, 0);
    await page.context().close();
  });
}

const folder = mkdtempSync(join(tmpdir(), 'tracker-'));
const browser = await launch();
let served;
const pages = [];
try {
  await checkPages(browser);
  await checkInputs(browser);
  await checkFailures(browser);
  await checkWishes(browser);
  for (let ordinal = 0; ordinal < 2; ordinal += 1) pages.push(await pagesOfAnother());
  const origins = pages.map(({ origin }) => origin);
  served = await serve(folder, origins[0]);
  for (const page of pages) page.key = served.keys.page;
  await checkOrigins(browser, served.keys, origins);
} catch (error) {
  await check('the run comes to its end', () => {
    throw error;
  });
} finally {
  served?.server.kill();
  for (const { server } of pages) server.close();
  await browser.close();
  rmSync(folder, { recursive: true });
}
process.exitCode = checks.summary();
