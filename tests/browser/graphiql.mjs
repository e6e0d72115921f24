// Opens /graphiql of a running server in Chromium and does what a visitor would: waits for the
// schema, runs queries and subscriptions, watches what the page loads and what it complains of.
//
//   npm install --no-package-lock
//   node graphiql.mjs http://127.0.0.1:8080
//
// Prints a line per check; exits 0 only if every check passed. HOMEPOT_TEST_CHROMIUM names another
// browser, SCREENSHOT a file for a picture of the page.

import * as checks from '../checks.mjs';
import { launch, reason, run, shownAnswer, stop } from './browser.mjs';

const { assert } = checks;

const PAGE_LIMIT_MS = 30_000;
const STREAM_LIMIT_MS = 90_000; // devices report every 30 s
const COMPLAINT_CHARACTERS_MAX = 400; // a blocked data: address is printed whole otherwise

const address = process.argv[2];
if (!URL.canParse(address)) {
  console.error('usage: node graphiql.mjs http://127.0.0.1:PORT');
  process.exit(2);
}
const origin = new URL(address).origin;

/** Runs one check, and tells the reason alone of one that failed. */
const check = (name, body) => checks.check(name, body, reason);

function assertNone(complaints) {
  const lines = [...new Set(complaints)].map((line) => line.slice(0, COMPLAINT_CHARACTERS_MAX));
  assert(lines.length === 0, lines.join('\n  '));
}

/** What the page did behind the scenes, gathered while it runs. */
function watch(page) {
  const seen = { requests: 0, foreign: [], failed: [], errors: [] };
  const note = (url) => {
    if (url.startsWith('data:') || url.startsWith('blob:')) return;
    seen.requests += 1;
    if (new URL(url.replace(/^ws/, 'http')).origin !== origin) seen.foreign.push(url);
  };
  page.on('request', (request) => note(request.url()));
  page.on('websocket', (socket) => note(socket.url()));
  page.on('requestfailed', (request) => {
    // of what people do, a page that is left tells without waiting for the answer
    const isLeft = request.failure()?.errorText === 'net::ERR_ABORTED';
    if (isLeft && request.url().endsWith('/user-activity')) return;
    seen.failed.push(`${request.url()}: ${request.failure()?.errorText}`);
  });
  page.on('response', (response) => {
    if (response.status() >= 400) seen.failed.push(`${response.url()}: ${response.status()}`);
  });
  page.on('pageerror', (error) => seen.errors.push(`uncaught: ${error.message}`));
  page.on('console', (message) => {
    if (message.type() === 'error') seen.errors.push(`console: ${message.text()}`);
  });
  return seen;
}

/** Has the page report what its content security policy blocks. */
async function watchPolicy(page) {
  const violations = [];
  await page.exposeFunction('reportViolation', (text) => violations.push(text));
  await page.addInitScript(() => {
    document.addEventListener('securitypolicyviolation', (event) => {
      globalThis.reportViolation(`${event.violatedDirective} blocked ${event.blockedURI}`);
    });
  });
  return violations;
}

/** The operations the page opens with, each with its name and type. */
async function examplesOf(page) {
  const examples = await page.evaluate(async () => {
    const module = await import('/graphiql/examples.js');
    return module.examples;
  });
  return examples.map((example) => {
    const [, type, name] = /^(query|mutation|subscription) (\w+)/m.exec(example.query);
    return { ...example, type, name };
  });
}

/** POSTs an operation from within the page; the parsed answer. */
function post(page, { query, variables, name }) {
  return page.evaluate(
    async ([query, variables, operationName]) => {
      const response = await fetch('/graphql', {
        method: 'POST',
        headers: { 'content-type': 'application/json', accept: 'application/json' },
        body: JSON.stringify({ query, variables, operationName }),
      });
      return response.json();
    },
    [query, variables, name],
  );
}

/** What is wrong with each example, by the schema that the server describes. */
function invalidExamples(page, examples) {
  return page.evaluate(async (examples) => {
    const { getIntrospectionQuery, buildClientSchema, parse, validate } = GraphiQL.GraphQL;
    const response = await fetch('/graphql', {
      method: 'POST',
      headers: { 'content-type': 'application/json', accept: 'application/json' },
      body: JSON.stringify({ query: getIntrospectionQuery() }),
    });
    const schema = buildClientSchema((await response.json()).data);
    return examples.flatMap(({ name, query }) =>
      validate(schema, parse(query)).map((error) => `${name}: ${error.message}`),
    );
  }, examples);
}

function assertNoErrors(answer) {
  assert(!answer.errors, JSON.stringify(answer.errors));
  assert(answer.data, `no data: ${JSON.stringify(answer)}`);
}

/** The rows of the first connection in an answer. */
function rowsOf(answer) {
  const root = Object.values(answer.data)[0];
  return root?.nodes ?? root?.edges ?? [];
}

async function openTab(page, name) {
  await page.locator(`.graphiql-tab-button[title="${name}"]`).click();
  await page.waitForFunction(
    (name) => {
      const editor = document.querySelector('.graphiql-query-editor .CodeMirror').CodeMirror;
      return new RegExp(`^\\w+ ${name}\\b`, 'm').test(editor.getValue());
    },
    name,
    { timeout: PAGE_LIMIT_MS },
  );
}

async function checkPage(page, examples) {
  await check('the schema is loaded and documented', async () => {
    await page.getByRole('button', { name: 'Show Documentation Explorer' }).click();
    const docs = page.locator('.graphiql-doc-explorer');
    await docs.getByText('Query', { exact: true }).first().waitFor();
    await docs.getByText('Subscription', { exact: true }).first().waitFor();
  });
  await check('a tab is open for each example', async () => {
    const tabs = await page.locator('.graphiql-tab-button').allTextContents();
    const missing = examples.filter(({ name }) => !tabs.includes(name));
    assertNone(missing.map(({ name }) => `no tab ${name}`));
    return `${tabs.length} tabs`;
  });
  await check('every example is valid by the schema', async () => {
    assertNone(await invalidExamples(page, examples));
    return `${examples.length} operations`;
  });
}

async function checkQueryTab(page) {
  await check('the query tab DeviceMetrics shows data', async () => {
    await openTab(page, 'DeviceMetrics');
    await run(page);
    const answer = await shownAnswer(page, PAGE_LIMIT_MS);
    assertNoErrors(answer);
    const rows = rowsOf(answer).length;
    assert(rows > 0, 'no node in the answer');
    return `${rows} nodes`;
  });
}

async function checkSubscriptionTab(page, name, items) {
  await check(`the subscription tab ${name} shows ${items} different items`, async () => {
    await openTab(page, name);
    await run(page);
    let last;
    for (let item = 0; item < items; item += 1) {
      last = await shownAnswer(page, STREAM_LIMIT_MS, last?.text);
      assertNoErrors(last);
    }
    await stop(page);
  });
}

async function checkExample(page, example) {
  await check(`${example.type} ${example.name} answers without errors`, async () => {
    const answer = await post(page, example);
    assertNoErrors(answer);
    if (example.type === 'query') return `${rowsOf(answer).length} rows`;
    const refused = Object.values(answer.data)[0]?.outcomes?.filter(
      ({ status }) => status !== 'RECORDED' && status !== 'DUPLICATE',
    );
    assertNone((refused ?? []).map((outcome) => JSON.stringify(outcome)));
    return undefined;
  });
}

async function main(browser) {
  const page = await browser.newPage({ viewport: { width: 1400, height: 900 } });
  page.setDefaultTimeout(PAGE_LIMIT_MS);
  const seen = watch(page);
  const violations = await watchPolicy(page);

  await check('the page is served with a content security policy', async () => {
    const response = await page.goto(`${origin}/graphiql`);
    assert(response.ok(), `status ${response.status()}`);
    const policy = (await response.allHeaders())['content-security-policy'] ?? 'none';
    assert(policy.includes("default-src 'self'"), `the policy is: ${policy}`);
  });
  const examples = await examplesOf(page);
  await checkPage(page, examples);
  await checkQueryTab(page);
  if (process.env.SCREENSHOT) await page.screenshot({ path: process.env.SCREENSHOT });
  await checkSubscriptionTab(page, 'WatchDeviceMetrics', 2);
  await checkSubscriptionTab(page, 'WatchEvents', 1);
  for (const example of examples.filter(({ type }) => type !== 'subscription')) {
    await checkExample(page, example);
  }

  await check('every request stays on this server', () => {
    assertNone(seen.foreign);
    return `${seen.requests} requests`;
  });
  await check('no request is refused or fails', () => assertNone(seen.failed));
  await check('the content security policy blocks nothing', () => assertNone(violations));
  await check('the browser console shows no error', () => assertNone(seen.errors));
}

const browser = await launch();
try {
  await main(browser);
} catch (error) {
  await check('the run comes to its end', () => {
    throw error;
  });
} finally {
  await browser.close();
}
process.exitCode = checks.summary();
