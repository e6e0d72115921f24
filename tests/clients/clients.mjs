// Runs the public audit of GraphQL over HTTP, clients that people use, and operations that are made up,
// against the server. From the root of the project:
//
//   (cd tests/clients && npm install --no-package-lock)
//   python3 -m venv target/python && target/python/bin/pip install -r tests/clients/requirements.txt
//   node tests/clients/clients.mjs target/debug/homepot-analytics 8090 target/python/bin/python
//
// The arguments are the program, a free port, and a Python that has what requirements.txt names. The
// program is started on logs of its own in a temporary folder, killed, started again and stopped. Prints
// a line per check; exits 0 only if every check passed.

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

import { assert, assertEqual, check, soon, summary } from '../checks.mjs';
import { schemaCare } from './care.mjs';
import { codeGenerator } from './codegen.mjs';
import { fuzz } from './fuzz/fuzz.mjs';
import { pythonDuckdb, pythonGql, pythonOtlp, pythonS3, pythonStates } from './python.mjs';
import { relayRuntime } from './relay.mjs';
import { FOLLOW, HEADERS, QUERY, Server } from './server.mjs';
import { graphqlSse, graphqlSseResumed } from './sse.mjs';
import { timescale } from './timescale.mjs';

const [SCHEMA, README] = ['schema.graphql', 'README.md'].map((name) => resolve(name));
const FUZZ_OPERATIONS = process.env.HOMEPOT_TEST_LONG === '1' ? 3_000 : 300;

const [program, port, python] = process.argv.slice(2);
if (!program || !/^\d+$/.test(port ?? '') || !python) {
  console.error('usage: node clients.mjs PROGRAM PORT PYTHON');
  process.exit(2);
}
const folder = await mkdtemp(join(tmpdir(), 'clients-'));
const server = new Server(program, port, folder, 'clients');

/** A client of sockets that is told so, with these options. */
const socketClient = (options) =>
  createClient({
    url: server.socket,
    webSocketImpl: WebSocket,
    connectionParams: HEADERS,
    ...options,
  });

// ---- the checks ---------------------------------------------------------------------------------

const withHeaders = (url, request) =>
  fetch(url, { ...request, headers: { ...request?.headers, ...HEADERS } });

async function audit() {
  const results = await auditServer({ url: server.http, fetchFn: withHeaders });
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
    assert(!errors, JSON.stringify(errors));
    items.push(data.errorLogs);
    if (items.length === count) break;
  }
  return items;
}

async function graphqlWs() {
  const client = socketClient({ retryAttempts: 0 });
  const after = await server.head();
  await server.record('one', 'two');
  const query = client.iterate({ query: QUERY, variables: { first: 1 } });
  const { value } = await soon(query.next(), 'answer');
  assertEqual(value.data.errorLogs.nodes, [{ errorMessage: 'two' }]);
  const history = await soon(follow(client, after, 2), 'history');
  assertEqual(history.map((item) => item.errorMessage), ['one', 'two']);
  const live = follow(client, history[1].cursor, 1);
  await server.record('three');
  assertEqual((await soon(live, 'item'))[0].errorMessage, 'three');
  await client.dispose();
}

/** A client that comes back by itself goes on where it was when the server is killed. */
async function resumed() {
  let after = await server.head();
  const seen = [];
  const client = socketClient({
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
  await server.record('a', 'b');
  await server.end('SIGKILL');
  await server.start();
  await server.record('c', 'd');
  assertEqual(await server.end('SIGTERM'), 0);
  await server.start();
  await server.record('e', 'f');
  await soon(all, 'rest');
  assertEqual(seen, ['a', 'b', 'c', 'd', 'e', 'f']);
  await client.dispose();
}

async function apollo() {
  const ws = socketClient();
  const isSubscription = ({ query }) =>
    getMainDefinition(query).operation === 'subscription';
  const link = ApolloLink.split(isSubscription, new GraphQLWsLink(ws), new HttpLink({ uri: server.http, headers: HEADERS }));
  const client = new ApolloClient({ link, cache: new InMemoryCache() });
  const after = await server.head();
  await server.record('by Apollo');
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
  const ws = socketClient();
  const subscriptions = subscriptionExchange({
    forwardSubscription: ({ query, variables }) => ({
      subscribe: (sink) => ({
        unsubscribe: ws.subscribe({ query: query ?? '', variables }, sink),
      }),
    }),
  });
  for (const preferGetMethod of [false, 'force']) {
    const exchanges = [cacheExchange, fetchExchange, subscriptions];
    const fetchOptions = { headers: HEADERS };
    const client = new Client({ url: server.http, exchanges, preferGetMethod, fetchOptions });
    const after = await server.head();
    await server.record('by urql');
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

const CHECKS = {
  'the schema breaks no client of the last release': () => schemaCare(SCHEMA),
  'the audit of GraphQL over HTTP passes': audit,
  'graphql-ws asks and follows': graphqlWs,
  'graphql-ws goes on where it was after a kill and after a stop': resumed,
  'graphql-sse asks, follows, and is told what is wrong': () => graphqlSse(server),
  'graphql-sse goes on where it was after a kill': () => graphqlSseResumed(server),
  'Apollo Client asks, follows, and is told what is wrong': apollo,
  'urql asks and follows, by POST and by GET': urql,
  'Relay compiles, pages, refetches, commands, follows, and is told what is wrong': () =>
    relayRuntime(server, SCHEMA, join(folder, 'relay')),
  'GraphQL Code Generator makes types that compile': () =>
    codeGenerator(SCHEMA, join(folder, 'codegen')),
  'gql of Python validates, asks, records, follows, and is told what is wrong': () =>
    pythonGql(server, python),
  'the exporter of OpenTelemetry for Python is taken by its metrics and logs': () =>
    pythonOtlp(server, python),
  'DuckDB reads what is exported, and the data lake': async () => {
    const till = new Server(program, port, folder, 'till');
    await till.take('tests/data/till.jsonl.gz');
    await pythonDuckdb(till, python);
  },
  'DuckDB finds in the data lake which state was before each, as the API does': () =>
    pythonStates(server, python),
  'a bucket of S3 takes the data lake, exports and what is archived': async () => {
    const till = new Server(program, port, folder, 'till');
    await pythonS3(till, python, await mkdtemp(join(folder, 's3-')));
  },
  'the server stops when it is told to': async () => assertEqual(await server.end('SIGTERM'), 0),
  'TimescaleDB has hypertables, compresses their chunks, and loses what is archived': () =>
    timescale(program, port, folder),
};

const demo = new Server(program, port, folder, 'demo');
let code = 1;
try {
  await server.start();
  for (const [name, body] of Object.entries(CHECKS)) await check(name, body);
  await fuzz(demo, FUZZ_OPERATIONS, README);
  code = summary();
  if (code !== 0) console.error(`${server.lastLines()}\n${demo.lastLines()}`);
} finally {
  for (const one of [server, demo]) if (one.lives()) one.process.kill('SIGKILL');
  await rm(folder, { recursive: true, force: true });
}
process.exit(code);
