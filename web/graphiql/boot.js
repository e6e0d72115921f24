// Starts GraphiQL on this page, after the vendored scripts have run.
//
// Queries and mutations go to /graphql over HTTP, subscriptions to the same address over a
// WebSocket (graphql-transport-ws). What is typed under "Headers" goes with both, and with the
// request for the schema: as headers of the request, and as the payload of connection_init. It is
// kept nowhere, so a key is typed again after the page was loaded again.

import { examples } from '/graphiql/examples.js';

const { createElement } = React;
const { useEditorContext, useExecutionContext } = GraphiQL.React;

const RETRIES_MAX = 20;
const RETRY_WAIT_MAX_MS = 10_000;
const FORBIDDEN = 4403;

let headers = {};

// A server that asks who one is says so in its answer; the page says where to type it.
const notice = document.getElementById('notice');
const INVITATION =
  'This server asks who you are. Type {"Authorization": "Bearer …"} with an access key or a token under ' +
  '“Headers”, below the query, and run it again.';
let isSchemaMissing = false;

function showRefusal(isRefused, why) {
  const isTyped = Object.keys(headers).some((name) => name.toLowerCase() === 'authorization');
  const refusal = isTyped ? `The server does not let you in: ${why}. ` : '';
  notice.textContent = isRefused ? refusal + INVITATION : '';
  notice.hidden = !isRefused;
}

// Whoever was let in after a refusal still lacks the schema.
function loadMissingSchema() {
  if (!isSchemaMissing) return;
  isSchemaMissing = false;
  document.querySelector('[aria-label="Re-fetch GraphQL schema"]')?.click();
}

async function fetchNoting(address, options) {
  const response = await fetch(address, options);
  const isRefused = response.status === 401;
  const answer = isRefused ? await response.clone().json().catch(() => undefined) : undefined;
  showRefusal(isRefused, answer?.errors?.[0]?.message);
  return response;
}

// A socket that is closed says why in its closing frame, which is no error that GraphiQL can show.
function told(error) {
  if (!(error instanceof CloseEvent)) return error;
  if (error.code === FORBIDDEN) showRefusal(true, error.reason);
  return new Error(`the socket was closed with ${error.code}: ${error.reason}`);
}

const socket = graphqlWs.createClient({
  url: Object.assign(new URL('/graphql', location.href), {
    protocol: location.protocol === 'https:' ? 'wss:' : 'ws:',
    hash: '',
  }).href,
  connectionParams: () => headers,
  retryAttempts: RETRIES_MAX,
  retryWait: (retries) => {
    const wait_ms = Math.min(RETRY_WAIT_MAX_MS, 250 * 2 ** retries) * (0.5 + Math.random() / 2);
    return new Promise((resolve) => setTimeout(resolve, wait_ms));
  },
  shouldRetry: (event) => event instanceof CloseEvent && event.code !== FORBIDDEN,
});

// When a socket is lost, graphql-ws subscribes again with the same request. This one moves the
// variable `after` along with the stream, so that nothing is repeated and nothing is missed.
const resumingSocket = {
  ...socket,
  subscribe(request, sink) {
    const telling = { ...sink, error: (error) => sink.error(told(error)) };
    if (!/\$after\b/.test(request.query)) return socket.subscribe(request, telling);
    const resumed = { ...request, variables: { ...request.variables } };
    return socket.subscribe(resumed, {
      ...telling,
      next(result) {
        const cursor = Object.values(result.data ?? {})[0]?.cursor;
        if (cursor) resumed.variables.after = cursor;
        sink.next(result);
      },
    });
  },
};

const send = GraphiQL.createFetcher({
  url: '/graphql',
  fetch: fetchNoting,
  headers: { accept: 'application/graphql-response+json, application/json;q=0.9' },
  enableIncrementalDelivery: false,
  wsClient: resumingSocket,
});

// GraphiQL learns a moment late which operation is in the editor, so that one started right after
// a change of tab would go out under the name of the last. The text itself is always right.
function currentOperation(request, options) {
  try {
    const documentAST = GraphiQL.GraphQL.parse(request.query);
    const operations = documentAST.definitions.filter(({ kind }) => kind === 'OperationDefinition');
    if (operations.length !== 1) return [request, { ...options, documentAST }];
    const operationName = operations[0].name?.value;
    return [{ ...request, operationName }, { ...options, documentAST }];
  } catch {
    return [request, options]; // not GraphQL: the server says what is wrong
  }
}

const isForSchema = (request) => request.operationName === 'IntrospectionQuery';

function fetcher(request, options) {
  headers = options?.headers ?? {};
  const answer = send(...currentOperation(request, options));
  if (isForSchema(request)) return noteSchema(answer);
  if (answer instanceof Promise) answer.then(({ data }) => data && loadMissingSchema(), () => {});
  return answer;
}

async function noteSchema(answering) {
  const answer = await answering;
  isSchemaMissing = !answer.data;
  return answer;
}

const tabs = examples.map(({ query, variables }) => ({
  query,
  variables: variables && JSON.stringify(variables, null, 2),
}));

function operationName(query) {
  return /^(?:query|mutation|subscription) (\w+)/m.exec(query)[1];
}

function summary(query) {
  return query.slice(1, query.indexOf('\n')).trim();
}

// The pane that lists the examples, to find a tab or to open it again once it is closed.
function Examples() {
  const editor = useEditorContext({ nonNull: true });
  const execution = useExecutionContext({ nonNull: true });
  const open = ({ query, variables }) => {
    execution.stop();
    const index = editor.tabs.findIndex((tab) => tab.title === operationName(query));
    if (index >= 0) return editor.changeTab(index);
    ReactDOM.flushSync(editor.addTab);
    editor.queryEditor.setValue(query);
    editor.variableEditor.setValue(variables ?? '');
  };
  return createElement(
    'section',
    { 'aria-label': 'Examples' },
    createElement('div', { className: 'examples-title' }, 'Examples'),
    createElement(
      'ul',
      { className: 'examples-list' },
      tabs.map((tab) =>
        createElement(
          'li',
          { key: operationName(tab.query) },
          createElement(
            'button',
            { type: 'button', 'data-track': `example ${operationName(tab.query)}`, onClick: () => open(tab) },
            operationName(tab.query),
            createElement('small', null, summary(tab.query)),
          ),
        ),
      ),
    ),
  );
}

function ExamplesIcon(props) {
  return createElement(
    'svg',
    { ...props, viewBox: '0 0 16 16', fill: 'none', stroke: 'currentColor', strokeWidth: 1.2 },
    createElement('path', { d: 'M3 2.5h10M3 6h10M3 9.5h6M3 13h6M11.5 9.5v4l3-2z' }),
  );
}

// /graphiql#docs opens with the documentation. GraphiQL's own `visiblePlugin` leaves the pane
// that it selects folded away.
let asked = location.hash === '#docs';
function showDocumentationIfAsked() {
  if (asked) document.querySelector('[aria-label="Show Documentation Explorer"]')?.click();
  asked = false;
}

// The history of GraphiQL would keep what is typed under "Headers", and so keys, in the browser.
const storage = GraphiQL.createLocalStorage({ namespace: 'homepot' });
const keep = storage.setItem;
storage.setItem = (name, text) => keep(name, withoutHeaders(text));

function withoutHeaders(text) {
  try {
    return JSON.stringify(JSON.parse(text), (name, value) => (name === 'headers' ? undefined : value));
  } catch {
    return text; // it is no JSON, and holds no headers
  }
}

ReactDOM.createRoot(document.getElementById('graphiql')).render(
  createElement(
    GraphiQL,
    {
      fetcher,
      defaultTabs: tabs,
      defaultEditorToolsVisibility: 'variables',
      inputValueDeprecation: true,
      schemaDescription: true,
      storage,
      shouldPersistHeaders: false,
      plugins: [
        GraphiQLPluginExplorer.explorerPlugin(),
        { title: 'Examples', icon: ExamplesIcon, content: Examples },
      ],
      onSchemaChange: showDocumentationIfAsked,
    },
    createElement(
      GraphiQL.Logo,
      null,
      createElement('a', { className: 'page-name', href: '/' }, 'HOMEPOT Analytics'),
    ),
  ),
);
