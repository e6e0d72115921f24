// GraphQL Code Generator on our schema, and the compiler of TypeScript on what came out.

import { execFile } from 'node:child_process';
import { mkdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { codegen } from '@graphql-codegen/core';
import * as typedDocumentNode from '@graphql-codegen/typed-document-node';
import * as typescript from '@graphql-codegen/typescript';
import * as typescriptOperations from '@graphql-codegen/typescript-operations';
import { parse } from 'graphql';

import { assert } from '../checks.mjs';

const require = createRequire(import.meta.url);
const here = dirname(fileURLToPath(import.meta.url));

const OPERATIONS = `
  query Busy($first: Int, $filter: DeviceMetricsFilter) {
    deviceMetrics(first: $first, filter: $filter) {
      totalCount
      nodes { occurredAt transactionVolume position extra device { site { timeZone } } }
    }
  }
  query Anything($id: ID!) {
    node(id: $id) { __typename id ... on Device { currentState } ...Fact }
  }
  fragment Fact on Event { kind eventId occurredAt }
  mutation Record($input: RecordEventsInput!) {
    recordEvents(input: $input) { outcomes { status code field position } }
  }
  subscription Follow($after: String) {
    events(after: $after) { __typename cursor ... on ErrorLog { errorMessage severity } }
  }
`;

const SCALARS = {
  Date: 'string',
  DateTime: 'string',
  Decimal: 'string',
  JSON: 'unknown',
  LocalTime: 'string',
  Long: 'string',
  TimeZone: 'string',
  UUID: 'string',
};

/** An application: what is right in it compiles, and each line of it that is wrong does not. */
const USAGE = `
import { Client, fetchExchange } from '@urql/core';
import * as made from './made.js';
import type { Job, Scalars } from './types.js';

const client = new Client({ url: 'http://127.0.0.1/graphql', exchanges: [fetchExchange] });

export async function busy(): Promise<string[]> {
  const filter: made.DeviceMetricsFilter = {
    or: [{ cpuPercent: { gte: 90 } }, { not: { deviceId: { in: ['a', 'b'] } } }],
    occurredAt: { gte: '2026-01-01T00:00:00Z' },
  };
  const { data } = await client.query(made.BusyDocument, { first: 5, filter }).toPromise();
  const zone: string | undefined = data?.deviceMetrics?.nodes[0]?.device?.site?.timeZone;
  return [zone ?? '', ...(data?.deviceMetrics?.nodes ?? []).map((node) => node.occurredAt)];
}

export async function record(): Promise<boolean> {
  const errorLog = { category: 'API', severity: 'INFO', errorMessage: 'e' } as const;
  const input: made.RecordEventsInput = { events: [{ errorLog }] };
  const { data } = await client.mutation(made.RecordDocument, { input }).toPromise();
  return data?.recordEvents?.outcomes.every(({ status }) => status === 'RECORDED') ?? false;
}

export function told(item: made.FollowSubscription): string {
  // the type of an event is told by its name
  return item.events.__typename === 'ErrorLog' ? item.events.errorMessage : item.events.cursor;
}

export function shareDone(job: Job): number {
  const created: Scalars['DateTime']['output'] = job.createdAt;
  return created === '' ? 0 : job.devicesSucceeded / job.devicesTargeted;
}

// @ts-expect-error a condition on no field
export const noField: made.DeviceMetricsFilter = { nothing: { eq: 1 } };
// @ts-expect-error a list of events is wanted
export const noEvents: made.RecordEventsInput = {};
// @ts-expect-error one event has one kind
export const two: made.EventInput = { errorLog: null, apiRequest: null };
`;

const COMPILER = {
  compilerOptions: {
    strict: true,
    exactOptionalPropertyTypes: true,
    noUncheckedIndexedAccess: true,
    noEmit: true,
    module: 'nodenext',
    target: 'es2022',
    lib: ['es2022', 'dom', 'esnext.disposable'],
    types: [],
    skipLibCheck: true, // of the packages' declarations, not of what was made
  },
  files: ['usage.ts'],
};

const CONFIG = { scalars: SCALARS, strictScalars: true, enumsAsTypes: true, useTypeImports: true };

/** What these plugins make of our schema and the operations. */
async function generate(schema, filename, pluginMap) {
  return codegen({
    filename,
    schema: parse(await readFile(schema, 'utf8')),
    documents: [{ location: 'operations.graphql', document: parse(OPERATIONS) }],
    config: CONFIG,
    plugins: Object.keys(pluginMap).map((name) => ({ [name]: {} })),
    pluginMap,
  });
}

/** Runs the compiler in `folder`; what it says unless it is content. */
function compile(folder) {
  const compiler = join(dirname(require.resolve('typescript/package.json')), 'bin', 'tsc');
  return new Promise((done) => {
    const given = [compiler, '--project', 'tsconfig.json'];
    execFile(process.execPath, given, { cwd: folder }, (error, stdout, stderr) => {
      done(error ? `${error.message}\n${stdout}${stderr}` : '');
    });
  });
}

export async function codeGenerator(schema, folder) {
  const types = await generate(schema, 'types.ts', { typescript });
  const made = await generate(schema, 'made.ts', { typescriptOperations, typedDocumentNode });
  await mkdir(folder, { recursive: true });
  await symlink(join(here, 'node_modules'), join(folder, 'node_modules'));
  await writeFile(join(folder, 'package.json'), '{ "type": "module" }');
  await writeFile(join(folder, 'tsconfig.json'), JSON.stringify(COMPILER));
  await writeFile(join(folder, 'types.ts'), types);
  await writeFile(join(folder, 'made.ts'), made);
  await writeFile(join(folder, 'usage.ts'), USAGE);
  const complaints = await compile(folder);
  assert(complaints === '', complaints);
  return `${(types + made).split('\n').length} lines of types`;
}
