// Starts GraphiQL on this page, after the vendored scripts have run.
//
// Queries and mutations go to /graphql over HTTP, subscriptions to the same address over a
// WebSocket (graphql-transport-ws). What is typed under "Headers" goes with both: as headers
// of the request, and as the payload of connection_init.

import { examples } from '/graphiql/examples.js';

const { createElement } = React;
const { useEditorContext, useExecutionContext } = GraphiQL.React;

const RETRIES_MAX = 20;
const RETRY_WAIT_MAX_MS = 10_000;
const FORBIDDEN = 4403;

let headers = {};

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
    if (!/\$after\b/.test(request.query)) return socket.subscribe(request, sink);
    const resumed = { ...request, variables: { ...request.variables } };
    return socket.subscribe(resumed, {
      ...sink,
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

function fetcher(request, options) {
  headers = options?.headers ?? {};
  return send(...currentOperation(request, options));
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
            { type: 'button', onClick: () => open(tab) },
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

ReactDOM.createRoot(document.getElementById('graphiql')).render(
  createElement(
    GraphiQL,
    {
      fetcher,
      defaultTabs: tabs,
      defaultEditorToolsVisibility: 'variables',
      inputValueDeprecation: true,
      schemaDescription: true,
      storage: GraphiQL.createLocalStorage({ namespace: 'homepot' }),
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
