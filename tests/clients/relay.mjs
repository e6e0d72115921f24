// Relay's compiler on our schema, and its runtime with what the compiler made.

import { execFile } from 'node:child_process';
import { copyFile, mkdir, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { promisify } from 'node:util';

import relay from 'relay-runtime';
import { createClient } from 'graphql-ws';
import WebSocket from 'ws';

import { assert, assertEqual, soon } from '../checks.mjs';
import { HEADERS } from './server.mjs';

const require = createRequire(import.meta.url);

const DOCUMENTS = {
  Site: `query SiteQuery($siteId: ID!, $first: Int!) {
    site(siteId: $siteId) { id name ...Site_devices @arguments(first: $first) }
  }`,
  // paged at an object, which the compiler has refetched by `node`
  Site_devices: `fragment Site_devices on Site
    @argumentDefinitions(first: { type: "Int", defaultValue: 2 }, after: { type: "String" })
    @refetchable(queryName: "SiteDevicesPage") {
    devices(first: $first, after: $after) @connection(key: "Site_devices") {
      edges { node { deviceId name } }
    }
  }`,
  // paged at the root
  Errors: `query ErrorsQuery { ...Errors_page }`,
  Errors_page: `fragment Errors_page on Query
    @argumentDefinitions(first: { type: "Int", defaultValue: 2 }, after: { type: "String" })
    @refetchable(queryName: "ErrorsPage") {
    errorLogs(first: $first, after: $after) @connection(key: "Errors_errorLogs") {
      edges { node { errorMessage } }
    }
  }`,
  Device: `query DeviceQuery($id: ID!) { node(id: $id) { __typename ... on Device { deviceId } } }`,
  Configure: `mutation ConfigureMutation($input: SetDeviceStateInput!) {
    setDeviceState(input: $input) {
      change { id newState }
      userErrors { code field }
    }
  }`,
  Follow: `subscription FollowSubscription($after: String) {
    errorLogs(after: $after) { id cursor errorMessage }
  }`,
};

const CONFIG = {
  src: '.',
  schema: 'schema.graphql',
  language: 'javascript',
  eagerEsModules: false, // Node.js finds `./Name.graphql` by `require` alone
  artifactDirectory: 'artifacts',
  customScalarTypes: { DateTime: 'string', Decimal: 'string', JSON: 'mixed', Long: 'string' },
};

/** Compiles the documents against `schema` in `folder`; what finds an artifact by its name. */
async function compile(schema, folder) {
  await mkdir(join(folder, 'artifacts'), { recursive: true });
  await copyFile(schema, join(folder, 'schema.graphql'));
  await writeFile(join(folder, 'package.json'), '{ "type": "commonjs" }');
  await writeFile(join(folder, 'relay.config.json'), JSON.stringify(CONFIG));
  for (const [name, document] of Object.entries(DOCUMENTS)) {
    const text = `graphql\`${document}\`;\n`;
    await writeFile(join(folder, `${name}.js`), text);
  }
  const compiler = require('relay-compiler');
  await promisify(execFile)(compiler, ['relay.config.json'], { cwd: folder });
  return (name) => require(join(folder, 'artifacts', `${name}.graphql.js`));
}

/** An environment as an application makes it: operations by POST, subscriptions by a socket. */
function environmentOf(server, ws) {
  const ask = async ({ text: query }, variables) => {
    const answer = await fetch(server.http, {
      method: 'POST',
      headers: { ...HEADERS, 'content-type': 'application/json' },
      body: JSON.stringify({ query, variables }),
    });
    return answer.json();
  };
  const follow = ({ text: query }, variables) =>
    relay.Observable.create((sink) => ws.subscribe({ query, variables }, sink));
  return new relay.Environment({
    network: relay.Network.create(ask, follow),
    store: new relay.Store(new relay.RecordSource()),
  });
}

/** A fragment that is paged, as `usePaginationFragment` does it. */
class Paged {
  constructor(environment, fragment, owner) {
    Object.assign(this, { environment, fragment, owner });
    this.metadata = relay.getPaginationMetadata(fragment, 'Paged');
  }

  /** What of it is in the store. */
  read() {
    const selector = relay.getSelector(this.fragment, this.owner);
    return this.environment.lookup(selector).data;
  }

  async loadMore(count) {
    const { identifierField, paginationRequest, paginationMetadata } = this.metadata;
    const data = this.read();
    const path = this.metadata.connectionPathInFragmentData;
    const { pageInfo } = path.reduce((value, key) => value[key], data);
    const more = ['forward', count, pageInfo.endCursor, {}, {}, paginationMetadata];
    const variables = relay.getPaginationVariables(...more);
    if (identifierField) variables.id = data[identifierField];
    await ask(this.environment, paginationRequest, variables);
  }
}

function ask(environment, query, variables) {
  const options = { networkCacheConfig: { force: true } };
  return soon(relay.fetchQuery(environment, query, variables, options).toPromise(), 'answer');
}

async function pagesByNode(environment, artifact) {
  const variables = { siteId: 'relay', first: 2 };
  const { site } = await ask(environment, artifact('SiteQuery'), variables);
  assertEqual(site.name, 'relay');
  const paged = new Paged(environment, artifact('Site_devices'), site);
  const names = () => paged.read().devices.edges.map(({ node }) => node.deviceId);
  assertEqual(names(), ['relay-1', 'relay-2']);
  await paged.loadMore(2);
  assertEqual(names(), ['relay-1', 'relay-2', 'relay-3', 'relay-4']);
  await paged.loadMore(2);
  assertEqual(names().length, 5);
  assertEqual(paged.read().devices.pageInfo.hasNextPage, false);
}

async function pagesAtRoot(environment, artifact) {
  const root = await ask(environment, artifact('ErrorsQuery'), {});
  const paged = new Paged(environment, artifact('Errors_page'), root);
  await paged.loadMore(1);
  const messages = paged.read().errorLogs.edges.map(({ node }) => node.errorMessage);
  assertEqual(messages, ['third', 'second', 'first']);
}

async function refetches(server, environment, artifact) {
  const { device } = await server.ask('{ device(deviceId: "relay-3") { id } }');
  const { node } = await ask(environment, artifact('DeviceQuery'), device);
  assertEqual(node, { __typename: 'Device', deviceId: 'relay-3' });
}

/** Commits the mutation; its answer, or the error that Relay makes of one. */
function configure(environment, mutation, input) {
  const committed = new Promise((onCompleted, onError) => {
    relay.commitMutation(environment, { mutation, variables: { input }, onCompleted, onError });
  });
  return soon(committed, 'answer of a mutation');
}

async function configures(environment, artifact) {
  const mutation = artifact('ConfigureMutation');
  const input = { deviceId: 'relay-1', state: 'MAINTENANCE' };
  const { setDeviceState } = await configure(environment, mutation, input);
  assertEqual(setDeviceState.userErrors, []);
  assertEqual(setDeviceState.change.newState, 'MAINTENANCE');
  const unknown = { ...input, deviceId: 'nobody' };
  const { setDeviceState: refused } = await configure(environment, mutation, unknown);
  assertEqual(refused.userErrors[0].code, 'NOT_FOUND');
  const kept = environment.getStore().getSource().get(setDeviceState.change.id);
  assertEqual(kept.newState, 'MAINTENANCE');
}

async function isTold(environment, artifact) {
  const wrong = ask(environment, artifact('DeviceQuery'), { id: null });
  const error = await wrong.then(() => null, (error) => error);
  assert(error?.source?.errors, `no error of the network: ${error}`);
  assertEqual(error.source.errors[0].extensions.code, 'BAD_INPUT');
}

async function follows(server, environment, artifact) {
  const subscription = artifact('FollowSubscription');
  const after = await server.head();
  const seen = [];
  let disposable;
  const all = new Promise((done, onError) => {
    const onNext = ({ errorLogs }) => seen.push(errorLogs.errorMessage) === 2 && done();
    const config = { subscription, variables: { after }, onNext, onError };
    disposable = relay.requestSubscription(environment, config);
  });
  await server.record('followed');
  await server.record('by Relay');
  await soon(all, 'items');
  disposable.dispose();
  assertEqual(seen, ['followed', 'by Relay']);
}

export async function relayRuntime(server, schema, folder) {
  const artifact = await compile(schema, folder);
  const { socket: url } = server;
  const ws = createClient({ url, webSocketImpl: WebSocket, connectionParams: HEADERS });
  const environment = environmentOf(server, ws);
  await server.register('relay', 5);
  await server.record('first', 'second', 'third');
  await pagesByNode(environment, artifact);
  await pagesAtRoot(environment, artifact);
  await refetches(server, environment, artifact);
  await configures(environment, artifact);
  await isTold(environment, artifact);
  await follows(server, environment, artifact);
  await ws.dispose();
}
