// How an operation is sent: by POST or GET, as events, or on a socket; and requests that are none.

import WebSocket from 'ws';

import { HEADERS } from '../server.mjs';

const LIMIT_MS = 40_000; // what a request may take, and some
const STREAM_MS = 250;
const ITEMS_MAX = 3;
const GET_BYTES_MAX = 10_000; // a byte takes up to three in an address
const MESSAGE_BYTES_MAX = 120_000; // a message has at most 128 KiB, and its envelope some

const JSON_TYPE = 'application/json';
const RESPONSE_TYPE = 'application/graphql-response+json';

const bodyOf = ({ document, variables }, extra = '') =>
  `{"query":${JSON.stringify(document)},"variables":${variables}${extra}}`;

async function fetched(url, init) {
  const answer = await fetch(url, { ...init, signal: AbortSignal.timeout(LIMIT_MS) });
  const type = answer.headers.get('content-type') ?? '';
  return { status: answer.status, type, texts: [await answer.text()] };
}

function post(accept) {
  return ({ http }, operation) => {
    const headers = { ...HEADERS, 'content-type': JSON_TYPE, accept };
    return fetched(http, { method: 'POST', headers, body: bodyOf(operation) });
  };
}

function get({ http }, { document, variables }) {
  const query = new URLSearchParams({ query: document, variables });
  return fetched(`${http}?${query}`, { headers: { ...HEADERS, accept: RESPONSE_TYPE } });
}

/** The data of the events of a stream, until it ends or has been looked at for long enough. */
async function events({ http }, operation) {
  const stop = new AbortController();
  const headers = { ...HEADERS, 'content-type': JSON_TYPE, accept: 'text/event-stream' };
  const limit = operation.kind === 'Subscription' ? STREAM_MS : LIMIT_MS;
  const timer = setTimeout(() => stop.abort(), limit);
  const told = { status: 200, type: JSON_TYPE, texts: [] };
  try {
    const init = { method: 'POST', headers, body: bodyOf(operation), signal: stop.signal };
    const answer = await fetch(http, init);
    const type = answer.headers.get('content-type') ?? '';
    if (!type.startsWith('text/event-stream')) {
      return { status: answer.status, type, texts: [await answer.text()] };
    }
    told.status = answer.status;
    let text = '';
    for await (const part of answer.body.pipeThrough(new TextDecoderStream())) {
      text += part;
      told.texts = [...text.matchAll(/^event: next\n(?:id: .*\n)?data: (.*)\n\n/gm)].map(
        ([, data]) => data,
      );
      told.ended = text.includes('event: complete\n');
      if (told.texts.length >= ITEMS_MAX || told.ended) break;
    }
  } catch (error) {
    if (error.name !== 'AbortError') throw error;
    if (operation.kind !== 'Subscription') throw new Error(`no answer within ${limit} ms`);
  } finally {
    clearTimeout(timer);
    stop.abort();
  }
  return told;
}

/** The payloads on a socket of its own; the code with which the server closed it, if it did. */
function socket({ socket: url }, operation) {
  const told = { status: 200, type: JSON_TYPE, texts: [] };
  const ws = new WebSocket(url, 'graphql-transport-ws', { headers: HEADERS });
  const isStream = operation.kind === 'Subscription';
  return new Promise((done, failed) => {
    const end = () => {
      clearTimeout(timer);
      ws.removeAllListeners('close');
      ws.terminate();
      done(told);
    };
    const timer = setTimeout(
      () => {
        if (isStream) end();
        else failed(new Error(`no answer within ${LIMIT_MS} ms`));
      },
      isStream ? STREAM_MS : LIMIT_MS,
    );
    ws.on('open', () => ws.send(JSON.stringify({ type: 'connection_init', payload: HEADERS })));
    ws.on('error', (error) => {
      clearTimeout(timer);
      failed(error);
    });
    ws.on('close', (code) => {
      told.closed = code;
      end();
    });
    ws.on('message', (text) => {
      const message = JSON.parse(text);
      const asked = `{"id":"1","type":"subscribe","payload":${bodyOf(operation)}}`;
      if (message.type === 'connection_ack') ws.send(asked);
      else if (message.type === 'next') told.texts.push(JSON.stringify(message.payload));
      else if (message.type === 'error')
        told.texts.push(JSON.stringify({ errors: message.payload }));
      if (['error', 'complete'].includes(message.type) || told.texts.length >= ITEMS_MAX) end();
    });
  });
}

/** A request with something wrong around its document. */
function wrong(random) {
  return ({ http }, operation) => {
    const body = bodyOf(operation);
    const at = random.int(0, body.length);
    const bodies = [
      '',
      'null',
      '[]',
      '{}',
      '1',
      `[${body}]`,
      body.slice(0, at),
      `${body} ${body}`,
      body.slice(0, at) + '\\' + body.slice(at),
      bodyOf({
        ...operation,
        variables: random.pick(['null', '[]', '1', '"{}"', '{"v0":{"__proto__":1}}']),
      }),
      bodyOf(operation, ',"operationName":"Nobody"'),
      bodyOf(operation, ',"operationName":""'),
      bodyOf(operation, ',"operationName":7'),
      bodyOf(operation, ',"extensions":[]'),
      bodyOf(operation, ',"query":null'),
      '{"query":null}',
      '{"query":7}',
      '{"query":""}',
      bodyOf(operation, ',"extensions":{"persistedQuery":{"version":1,"sha256Hash":"00"}}'),
      Buffer.concat([
        Buffer.from(body.slice(0, at)),
        Buffer.from([0xff, 0xfe]),
        Buffer.from(body.slice(at)),
      ]),
    ];
    const types = [
      JSON_TYPE,
      JSON_TYPE,
      JSON_TYPE,
      'text/plain',
      'application/json; charset=latin1',
      'application/graphql',
      'x',
    ];
    const accepts = [
      JSON_TYPE,
      RESPONSE_TYPE,
      '*/*',
      '',
      'image/png',
      'text/event-stream;q=0, */*',
      ';;;',
      'text/html',
    ];
    const headers = {
      ...HEADERS,
      'content-type': random.pick(types),
      accept: random.pick(accepts),
    };
    return fetched(http, {
      method: random.pick(['POST', 'POST', 'POST', 'PUT']),
      headers,
      body: random.pick(bodies),
    });
  };
}

/** A way for an operation, with its name. */
export function wayOf(random, operation) {
  const bytes = Buffer.byteLength(bodyOf(operation));
  const ways = [['events', events]];
  if (bytes < MESSAGE_BYTES_MAX) ways.push(['a socket', socket]);
  if (operation.kind !== 'Subscription') {
    const posted = ['a POST', post(JSON_TYPE)];
    ways.push(posted, posted, posted, ['a POST of the newer type', post(RESPONSE_TYPE)]);
  }
  if (operation.kind === 'Query' && bytes < GET_BYTES_MAX) ways.push(['a GET', get]);
  const taken = random.pick(ways);
  return random.chance(0.04) ? ['a wrong request', wrong(random)] : taken;
}
