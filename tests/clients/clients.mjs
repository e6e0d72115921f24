// Runs the public audit of GraphQL over HTTP, and clients that people use, against the server.
//
//   npm install --no-package-lock
//   node clients.mjs target/debug/homepot-analytics 8090
//
// The first argument is the program, the second a free port. The program is started on a log of its
// own in a temporary folder, killed, started again and stopped. Prints a line per check; exits 0 only
// if every check passed.

import { spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';

import { ApolloClient, ApolloLink, HttpLink, InMemoryCache, gql } from '@apollo/client';
import { GraphQLWsLink } from '@apollo/client/link/subscriptions';
import { getMainDefinition } from '@apollo/client/utilities';
import { Client, cacheExchange, fetchExchange, subscriptionExchange } from '@urql/core';
import { auditServer } from 'graphql-http';
import { createClient } from 'graphql-ws';
import WebSocket from 'ws';

const READY_LIMIT_MS = 60_000;
const ANSWER_LIMIT_MS = 30_000;

const [program, port] = process.argv.slice(2);
if (!program || !/^\d+$/.test(port ?? '')) {
  console.error('usage: node clients.mjs PROGRAM PORT');
  process.exit(2);
}
const http = `http://127.0.0.1:${port}/graphql`;
const socket = `ws://127.0.0.1:${port}/graphql`;
const folder = await mkdtemp(join(tmpdir(), 'clients-'));

const tally = { passed: 0, failed: 0 };

/** Runs one check: passed if `body` returns, failed if it throws. */
async function check(name, body) {
  try {
    const detail = await body();
    tally.passed += 1;
    console.log(`ok - ${name}${detail ? ` (${detail})` : ''}`);
  } catch (error) {
    tally.failed += 1;
    console.log(`not ok - ${name}: ${error?.stack ?? JSON.stringify(error)}`);
  }
}

function assertEqual(given, expected) {
  const [left, right] = [given, expected].map((value) => JSON.stringify(value));
  if (left !== right) throw new Error(`${left} instead of ${right}`);
}

/** What a promise comes to, unless it takes too long. */
function soon(promise, what) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no ${what} in time`)), ANSWER_LIMIT_MS);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

// ---- the server ---------------------------------------------------------------------------------

let server;

/** Starts the server, and waits until it says where it listens. */
async function start() {
  const database = `sqlite://${join(folder, 'log.db')}`;
  const given = ['serve', '--database', database, '--listen', `127.0.0.1:${port}`];
  server = spawn(resolve(program), given, { stdio: ['ignore', 'pipe', 'inherit'] });
  const listening = new Promise((listens, reject) => {
    server.stdout.on('data', (text) => text.includes('Listening on') && listens());
    server.on('exit', (code) => reject(new Error(`the server ended with ${code}`)));
    setTimeout(() => reject(new Error('the server is not ready')), READY_LIMIT_MS).unref();
  });
  await listening;
}

/** Ends the server by a signal; the code with which it ended. */
function end(signal) {
  const ended = new Promise((exits) => server.on('exit', (code) => exits(code)));
  server.kill(signal);
  return ended;
}

/** Records errors with these messages, as any script would. */
async function record(...messages) {
  const events = messages.map((errorMessage) => ({
    errorLog: { category: 'API', severity: 'INFO', errorMessage },
  }));
  const query =
    'mutation($input: RecordEventsInput!) { recordEvents(input: $input) { outcomes { status } } }';
  const answer = await fetch(http, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ query, variables: { input: { events } } }),
  });
  const { data } = await answer.json();
  for (const outcome of data.recordEvents.outcomes) assertEqual(outcome, { status: 'RECORDED' });
}

const QUERY =
  'query Newest($first: Int!) { errorLogs(first: $first) { nodes { errorMessage } } }';
const FOLLOW =
  'subscription Follow($after: String) { errorLogs(after: $after) { cursor errorMessage } }';
const HEAD = '{ errorLogs(first: 0) { liveCursor } }';

/** Where what comes from now on begins. */
async function head() {
  const answer = await fetch(`${http}?query=${encodeURIComponent(HEAD)}`);
  return (await answer.json()).data.errorLogs.liveCursor;
}

// ---- the checks ---------------------------------------------------------------------------------

async function audit() {
  const results = await auditServer({ url: http });
  const missed = results.filter((result) => result.status !== 'ok');
  if (missed.length > 0) {
    const told = missed.map(({ id, name, status, reason }) => `${id} ${name}: ${status}, ${reason}`);
    throw new Error(told.join('\n  '));
  }
  return `${results.length} audits`;
}

/** Subscribes with graphql-ws as `client`, and takes so many items. */
async function follow(client, after, count) {
  const items = [];
  const stream = client.iterate({ query: FOLLOW, variables: { after } });
  for await (const { data, errors } of stream) {
    if (errors) throw new Error(JSON.stringify(errors));
    items.push(data.errorLogs);
    if (items.length === count) break;
  }
  return items;
}

async function graphqlWs() {
  const client = createClient({ url: socket, webSocketImpl: WebSocket, retryAttempts: 0 });
  const after = await head();
  await record('one', 'two');
  const query = client.iterate({ query: QUERY, variables: { first: 1 } });
  const { value } = await soon(query.next(), 'answer');
  assertEqual(value.data.errorLogs.nodes, [{ errorMessage: 'two' }]);
  const history = await soon(follow(client, after, 2), 'history');
  assertEqual(history.map((item) => item.errorMessage), ['one', 'two']);
  const live = follow(client, history[1].cursor, 1);
  await record('three');
  assertEqual((await soon(live, 'item'))[0].errorMessage, 'three');
  await client.dispose();
}

/** A client that comes back by itself goes on where it was when the server is killed. */
async function resumed() {
  let after = await head();
  const seen = [];
  const client = createClient({
    url: socket,
    webSocketImpl: WebSocket,
    retryAttempts: 100,
    retryWait: () => new Promise((wait) => setTimeout(wait, 50)),
    shouldRetry: () => true,
  });
  const all = new Promise((done, failed) => {
    const again = () => {
      client.subscribe(
        { query: FOLLOW, variables: { get after() { return after; } } },
        {
          next: ({ data }) => {
            after = data.errorLogs.cursor;
            seen.push(data.errorLogs.errorMessage);
            if (seen.length === 6) done();
          },
          error: failed,
          complete: () => {},
        },
      );
    };
    again();
  });
  await record('a', 'b');
  await end('SIGKILL');
  await start();
  await record('c', 'd');
  assertEqual(await end('SIGTERM'), 0);
  await start();
  await record('e', 'f');
  await soon(all, 'rest');
  assertEqual(seen, ['a', 'b', 'c', 'd', 'e', 'f']);
  await client.dispose();
}

async function apollo() {
  const ws = createClient({ url: socket, webSocketImpl: WebSocket });
  const isSubscription = ({ query }) =>
    getMainDefinition(query).operation === 'subscription';
  const link = ApolloLink.split(isSubscription, new GraphQLWsLink(ws), new HttpLink({ uri: http }));
  const client = new ApolloClient({ link, cache: new InMemoryCache() });
  const after = await head();
  await record('by Apollo');
  const { data } = await soon(client.query({ query: gql(QUERY), variables: { first: 1 } }), 'answer');
  assertEqual(data.errorLogs.nodes[0].errorMessage, 'by Apollo');
  const item = new Promise((next, error) => {
    client.subscribe({ query: gql(FOLLOW), variables: { after } }).subscribe({ next, error });
  });
  const { data: streamed } = await soon(item, 'item');
  assertEqual(streamed.errorLogs.errorMessage, 'by Apollo');
  const wrong = client.query({ query: gql('{ nothing }') });
  const refused = await wrong.then(() => null, (error) => error);
  assertEqual(refused?.errors?.[0]?.extensions?.code, 'VALIDATION_FAILED');
  client.stop();
  await ws.dispose();
}

async function urql() {
  const ws = createClient({ url: socket, webSocketImpl: WebSocket });
  const subscriptions = subscriptionExchange({
    forwardSubscription: ({ query, variables }) => ({
      subscribe: (sink) => ({
        unsubscribe: ws.subscribe({ query: query ?? '', variables }, sink),
      }),
    }),
  });
  for (const preferGetMethod of [false, 'force']) {
    const exchanges = [cacheExchange, fetchExchange, subscriptions];
    const client = new Client({ url: http, exchanges, preferGetMethod });
    const after = await head();
    await record('by urql');
    const { data, error } = await soon(client.query(QUERY, { first: 1 }).toPromise(), 'answer');
    if (error) throw error;
    assertEqual(data.errorLogs.nodes[0].errorMessage, 'by urql');
    const item = new Promise((next) => {
      client.subscription(FOLLOW, { after }).subscribe(next);
    });
    const streamed = await soon(item, 'item');
    if (streamed.error) throw streamed.error;
    assertEqual(streamed.data.errorLogs.errorMessage, 'by urql');
  }
  await ws.dispose();
}

try {
  await start();
  await check('the audit of GraphQL over HTTP passes', audit);
  await check('graphql-ws asks and follows', graphqlWs);
  await check('graphql-ws goes on where it was after a kill and after a stop', resumed);
  await check('Apollo Client asks, follows, and is told what is wrong', apollo);
  await check('urql asks and follows, by POST and by GET', urql);
  await check('the server stops when it is told to', async () => {
    assertEqual(await end('SIGTERM'), 0);
  });
} finally {
  server?.kill('SIGKILL');
  await rm(folder, { recursive: true, force: true });
}
console.log(`${tally.passed} passed, ${tally.failed} failed`);
process.exit(tally.failed === 0 ? 0 : 1);
