// graphql-sse with a connection for each operation ("distinct connections mode").

import { createClient } from 'graphql-sse';

import { assert, assertEqual, soon } from '../checks.mjs';
import { FOLLOW, HEADERS, QUERY } from './server.mjs';

const clientOf = ({ http: url }, options) =>
  createClient({ url, headers: HEADERS, retryAttempts: 0, ...options });

/** So many items of the errors from a place on. */
async function take(client, after, count) {
  const items = [];
  for await (const { data, errors } of client.iterate({ query: FOLLOW, variables: { after } })) {
    assert(!errors, JSON.stringify(errors));
    items.push(data.errorLogs);
    if (items.length === count) break;
  }
  return items;
}

const messages = (items) => items.map((item) => item.errorMessage);

/** The first result of an operation. */
async function first(client, query, variables) {
  const stream = client.iterate({ query, variables });
  return (await soon(stream.next(), 'answer')).value;
}

export async function graphqlSse(server) {
  const client = clientOf(server);
  const after = await server.head();
  await server.record('one', 'two');
  const { data } = await first(client, QUERY, { first: 1 });
  assertEqual(data.errorLogs.nodes, [{ errorMessage: 'two' }]);
  const history = await soon(take(client, after, 2), 'history');
  assertEqual(messages(history), ['one', 'two']);
  const live = take(client, history[1].cursor, 1);
  await server.record('three');
  assertEqual(messages(await soon(live, 'item')), ['three']);
  const resumed = clientOf(server, { headers: { ...HEADERS, 'last-event-id': history[0].cursor } });
  assertEqual(messages(await soon(take(resumed, after, 2), 'rest')), ['two', 'three']);
  const { errors } = await first(client, '{ nothing }');
  assertEqual(errors[0].extensions.code, 'VALIDATION_FAILED');
  const wrong = await first(client, FOLLOW, { after: 'nowhere' });
  assertEqual(wrong.errors[0].extensions.code, 'BAD_INPUT');
  client.dispose();
  resumed.dispose();
}

/** A client that comes back by itself goes on after the last event that it has seen. */
export async function graphqlSseResumed(server) {
  const after = await server.head();
  const seen = [];
  let last;
  const client = clientOf(server, {
    headers: () => (last ? { ...HEADERS, 'last-event-id': last } : HEADERS),
    retryAttempts: 100,
    retry: () => new Promise((wait) => setTimeout(wait, 50)),
  });
  const all = new Promise((done, error) => {
    const next = ({ data }) => {
      last = data.errorLogs.cursor;
      if (seen.push(data.errorLogs.errorMessage) === 4) done();
    };
    client.subscribe({ query: FOLLOW, variables: { after } }, { next, error, complete: () => {} });
  });
  await server.record('a', 'b');
  await server.end('SIGKILL');
  await server.start();
  await server.record('c', 'd');
  await soon(all, 'rest');
  assertEqual(seen, ['a', 'b', 'c', 'd']);
  client.dispose();
}
