// Programs of Python that stand beside this file, as people use their libraries: the client `gql`, the
// exporter of OpenTelemetry, and DuckDB over what is exported, into a folder and into a bucket of S3.

import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';

import { assert, assertEqual } from '../checks.mjs';
import { HEADERS } from './server.mjs';

const LIMIT_MS = 180_000;

/** Runs a program to its end, which must be a good one. */
function run(python, program, ...given) {
  const path = fileURLToPath(new URL(program, import.meta.url));
  return new Promise((done, failed) => {
    execFile(python, [path, ...given], { timeout: LIMIT_MS }, (error, stdout, stderr) => {
      if (error) failed(new Error(`${error.message}\n${stdout}${stderr}`));
      else done();
    });
  });
}

export const pythonGql = (server, python) =>
  run(python, 'python_gql.py', server.http, server.socket, JSON.stringify(HEADERS));

/** A log that is exported, by itself and into a data lake, is read as it stands. */
export const pythonDuckdb = (server, python) =>
  run(python, 'python_duckdb.py', server.program, server.database.at(-1));

// Minutes at which devices began to be in states, in the order in which that is recorded.
const STATES = [
  ['lake-1', 10, 'ONLINE'],
  ['lake-1', 40, 'ERROR'],
  ['lake-2', 20, 'MAINTENANCE'],
  ['lake-1', 30, 'OFFLINE'],
  ['lake-2', 15, 'ONLINE'],
  ['lake-1', 40, 'ONLINE'],
  ['lake-1', 5, 'UNKNOWN'],
];
const IN_TIME = `{ deviceStateHistory(
  filter: { deviceId: { in: ["lake-1", "lake-2"] } }, all: true, order: OLDEST_FIRST
) { nodes { position deviceId newState previousState } } }`;

/** The state before each that DuckDB finds in the data lake is that of the API, however late reports came. */
export async function pythonStates(server, python) {
  await server.register('lake', 2);
  for (const [deviceId, minute, state] of STATES) {
    const at = `2024-01-01T00:${String(minute).padStart(2, '0')}:00Z`;
    await server.state(deviceId, state, at);
  }
  const { deviceStateHistory } = await server.ask(IN_TIME);
  const states = JSON.stringify(deviceStateHistory.nodes);
  await run(python, 'python_states.py', server.program, server.database.at(-1), states);
}

/** A log is taken out into a bucket of S3, by a command and by a server, which archives there too. */
export const pythonS3 = (server, python, folder) =>
  run(python, 'python_s3.py', server.program, server.database.at(-1), folder);

const REPORTED = `query Reported($id: ID!) {
  device(deviceId: $id) {
    latestMetrics { cpuPercent memoryPercent transactionCount networkLatencyMs provenance }
    errorLogs(order: FIRST_RECORDED_FIRST) { nodes { severity errorMessage errorCode stackTrace } }
  }
}`;

/** What an exporter of OpenTelemetry sends is what the device is shown with. */
export async function pythonOtlp(server, python) {
  await server.register('otlp', 1);
  await run(python, 'python_otlp.py', server.origin, 'otlp-1', JSON.stringify(HEADERS));
  const { device } = await server.ask(REPORTED, { id: 'otlp-1' });
  assertEqual(device.latestMetrics, {
    cpuPercent: 50,
    memoryPercent: 50,
    transactionCount: 7,
    networkLatencyMs: 12.5,
    provenance: 'REAL',
  });
  const [paper, sale] = device.errorLogs.nodes;
  assertEqual([paper.severity, paper.errorMessage], ['WARNING', 'paper is low']);
  assertEqual([sale.severity, sale.errorMessage, sale.errorCode], ['ERROR', 'a sale failed', 'ValueError']);
  assert(sale.stackTrace.includes('card not read'), sale.stackTrace);
}
