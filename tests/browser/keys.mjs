// Opens /graphiql of a server that lets in only who has a key, and does what a visitor would: reads
// what the page says, types a key under "Headers", queries and follows with it.
//
//   npm install --no-package-lock
//   node keys.mjs ../../target/debug/homepot-analytics 8090
//
// The arguments are the program and a free port. Prints a line per check; exits 0 only if every check
// passed. HOMEPOT_TEST_CHROMIUM names another browser.

import { execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';

import * as checks from '../checks.mjs';
import { launch, reason, run, shownAnswer, stop } from './browser.mjs';

const { assert, assertEqual, soon } = checks;

const LIMIT_MS = 30_000;
const QUERY = 'query Me { viewer { role } }';
const HEAD = '{ storeHealth { cursor } }';
const follow = (after) => `subscription Follow { apiRequests(after: "${after}") { endpoint } }`;

const [program, port] = process.argv.slice(2);
if (!program || !/^\d+$/.test(port ?? '')) {
  console.error('usage: node keys.mjs PROGRAM PORT');
  process.exit(2);
}
const origin = `http://127.0.0.1:${port}`;

const check = (name, body) => checks.check(name, body, reason);

/** A server on a log of its own in a folder, and a key for it. */
async function serve(folder) {
  const database = ['--database', `sqlite://${join(folder, 'keys.db')}`];
  const create = ['key', 'create', '--role', 'ADMIN', '--name', 'browser', ...database];
  const [key] = execFileSync(resolve(program), create, { encoding: 'utf8' }).split('\n');
  const given = ['serve', '--listen', `127.0.0.1:${port}`, ...database];
  const server = spawn(resolve(program), given, { stdio: ['ignore', 'pipe', 'inherit'] });
  await soon(new Promise((ready) => server.stdout.once('data', ready)), 'listening server');
  server.stdout.resume();
  return { server, key };
}

/** The data of a request that is made beside the page. */
async function post(query, key) {
  const headers = { 'content-type': 'application/json', authorization: `Bearer ${key}` };
  const body = JSON.stringify({ query });
  const response = await fetch(`${origin}/graphql`, { method: 'POST', headers, body });
  return (await response.json()).data;
}

/** Types a text into an editor of the page in place of what is there. */
async function type(page, editor, text) {
  const handle = await page.waitForSelector(`${editor} .CodeMirror`);
  await handle.evaluate((pane, text) => pane.CodeMirror.setValue(text), text);
}

async function typeKey(page, key) {
  await page.getByRole('button', { name: 'Headers', exact: true }).click();
  const headers = JSON.stringify({ Authorization: `Bearer ${key}` });
  await type(page, '.graphiql-editor-tool .graphiql-editor:not(.hidden)', headers);
}

/** Asks for something once the page has taken what was typed. */
async function ask(page, query) {
  await type(page, '.graphiql-query-editor', query);
  const name = query.split(' ')[1];
  await page.locator(`.graphiql-tab-active .graphiql-tab-button[title="${name}"]`).waitFor();
  await run(page);
}

async function notice(page, text) {
  await page.locator('#notice', { hasText: text }).waitFor();
}

async function main(page, key) {
  await page.goto(`${origin}/graphiql`);
  await check('whoever has no key is told in words what to do', () =>
    notice(page, 'This server asks who you are. Type {"Authorization": "Bearer …"}'),
  );
  await check('a key that does not hold is told to be none', async () => {
    await typeKey(page, `${key.slice(0, -4)}AAAA`);
    await ask(page, QUERY);
    await notice(page, 'the access key does not hold');
  });
  let last = await shownAnswer(page, LIMIT_MS);
  await check('a key that is typed is sent with a query', async () => {
    await typeKey(page, key);
    await ask(page, QUERY);
    last = await shownAnswer(page, LIMIT_MS, last.text);
    assertEqual(last.data, { viewer: { role: 'ADMIN' } });
    await page.locator('#notice').waitFor({ state: 'hidden' });
  });
  await check('and with the request for the schema', async () => {
    await page.getByRole('button', { name: 'Show Documentation Explorer' }).click();
    await page.locator('.graphiql-doc-explorer').getByText('Subscription', { exact: true }).first().waitFor();
  });
  await check('and on the socket of a subscription', async () => {
    const { storeHealth } = await post(HEAD, key);
    await post(QUERY, key);
    await ask(page, follow(storeHealth.cursor));
    const item = await shownAnswer(page, LIMIT_MS, last.text);
    // Any request will do, those without a key among them: none is told to whoever sends no key.
    assert(item.data?.apiRequests.endpoint, item.text);
    await stop(page);
  });
  await check('it is kept neither in the address nor in the browser', async () => {
    const kept = await page.evaluate(() => JSON.stringify({ ...localStorage, ...sessionStorage }));
    assert(!kept.includes(key), 'it is in the storage');
    assertEqual(page.url(), `${origin}/graphiql`);
  });
}

const folder = mkdtempSync(join(tmpdir(), 'keys-'));
const browser = await launch();
let served;
try {
  served = await serve(folder);
  const page = await browser.newPage({ viewport: { width: 1400, height: 900 } });
  page.setDefaultTimeout(LIMIT_MS);
  await main(page, served.key);
} catch (error) {
  await check('the run comes to its end', () => {
    throw error;
  });
} finally {
  served?.server.kill();
  await browser.close();
  rmSync(folder, { recursive: true });
}
process.exitCode = checks.summary();
