// A server under the load of a fleet, both of whose clocks run a hundred times as fast: it records, sums up,
// archives, deletes, alerts and answers for an hour, and must neither grow nor fall behind, and be sound at the
// end. Of the server only the clock is moved (`clock.c`): its timers are not, nor is anything else.
//
// `node soak.mjs PROGRAM PORT [MINUTES]`

import { execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { assert, assertEqual, check, soon, summary } from '../checks.mjs';
import { Server } from './server.mjs';

const [program, port, minutes = '60'] = process.argv.slice(2);
const SPEED = 100;
const SECONDS = Number(minutes) * 60;
const BACK_HOURS = Math.ceil((SECONDS * SPEED) / 3600);
const DAY_MS = 86_400_000;
const SAMPLE_MS = 5_000;
const RETENTION_EVERY = 24;
const JOB_EVERY = 12;
const TELL_EVERY = 60;
const CATCH_UP_LIMIT_MS = 120_000;
/** How much more memory the last quarter may take than the one before. By then what is kept is as old as it gets,
 * and what is held of it is full. */
const GROWTH_MAX = 1.15;
const GROWTH_BYTES_MAX = 16 * 1024 * 1024;

const SOURCES = '{ collectionStatus { sources { source records } } }';
const HEALTH = '{ storeHealth { head projectionLagEvents } }';
const POLICIES = '{ retentionPolicies { kind archivedEvents deletedEvents } }';
const SET_POLICY = `mutation($kind: EventKind!) {
  setRetentionPolicy(input: { kind: $kind, archiveAfterDays: 1, deleteAfterDays: 2 }) {
    userErrors { code message } } }`;
const RUN = 'mutation { runRetention(dryRun: false) { isComplete userErrors { code message } } }';
const JOB = `mutation { createJob(input: { jobType: HEALTH_CHECK, siteIds: ["site-01"] }) {
  job { jobId } userErrors { code message } } }`;
const ALERTS = '{ alerts(first: 1) { totalCount } }';
/** What a dashboard asks. */
const DASHBOARD = `query($from: DateTime!, $day: DateTime!) {
  series(measures: [CPU_PERCENT, TRANSACTION_VOLUME], from: $from, groupBy: [SITE],
      buckets: { resolution: HOUR }) {
    groups { buckets { start avg max percentile(of: 95) increase coverage } } }
  breakdown(measures: [ERRORS], from: $from, by: DEVICE) { __typename }
  apiRequestStats(from: $day) { __typename }
  devices(first: 20) { nodes { deviceId currentState latestMetrics { cpuPercent }
    deviceMetrics(first: 10) { nodes { occurredAt cpuPercent } } } }
  deviceMetrics(first: 100) { totalCount nodes { position occurredAt device { deviceId } } }
  events(first: 50) { nodes { kind position } } }`;
const ACTIVITY = `mutation($at: DateTime!) { recordEvents(input: { events: [{ userActivity: {
  userId: "soak", sessionId: "soak", activityType: PAGE_VIEW, pageUrl: "/", occurredAt: $at } }] }) {
  outcomes { status } } }`;

const folder = mkdtempSync(join(tmpdir(), 'soak-'));
const server = new Server(program, port, folder, 'soak');
const memory = [];
let simulation;
let began;

/** Resident memory of the server, in bytes. */
function resident() {
  const status = readFileSync(`/proc/${server.process.pid}/status`, 'utf8');
  return Number(/VmRSS:\s+(\d+)/.exec(status)[1]) * 1024;
}

function median(values) {
  const ordered = [...values].sort((left, right) => left - right);
  return ordered[Math.floor(ordered.length / 2)];
}

function part(from, to) {
  return memory.slice(Math.floor(memory.length * from), Math.floor(memory.length * to));
}

function wait(ms) {
  return new Promise((done) => setTimeout(done, ms));
}

/** The instant to which the clock of the fleet has come. */
function present() {
  const gone = (Date.now() - began) * SPEED;
  return Math.min(began - BACK_HOURS * 3_600_000 + gone, Date.now());
}

function told(errors) {
  return errors.map(({ code, message }) => `${code}: ${message}`).join('; ');
}

async function step(index) {
  const at = new Date(present()).toISOString();
  await server.ask(DASHBOARD, {
    from: new Date(present() - 2 * DAY_MS).toISOString(),
    day: new Date(present() - DAY_MS).toISOString(),
  });
  await server.ask(ACTIVITY, { at });
  if (index % JOB_EVERY === 0) {
    const { createJob } = await server.ask(JOB);
    assertEqual(told(createJob.userErrors), '');
  }
  if (index % RETENTION_EVERY === 0) {
    const { runRetention } = await server.ask(RUN);
    assertEqual(told(runRetention.userErrors.filter(({ code }) => code !== 'BUSY')), '');
  }
  memory.push(resident());
  if (index % TELL_EVERY === 0) {
    const { storeHealth } = await server.ask(HEALTH);
    const mebibytes = Math.round(memory.at(-1) / 1024 / 1024);
    const { head, projectionLagEvents } = storeHealth;
    console.log(`# ${at}: ${head} events, ${projectionLagEvents} behind, ${mebibytes} MiB`);
  }
}

/** Waits until what was recorded is folded. Whoever asks is recorded as well, so that there may always be a lag. */
async function caughtUp() {
  let recorded;
  for (;;) {
    const { head, projectionLagEvents } = (await server.ask(HEALTH)).storeHealth;
    recorded ??= BigInt(head);
    if (BigInt(head) - BigInt(projectionLagEvents) >= recorded) return;
    await wait(SAMPLE_MS);
  }
}

async function endSimulation() {
  const ended = new Promise((exits) => simulation.on('exit', exits));
  simulation.kill('SIGTERM');
  assertEqual(await soon(ended, 'end of the simulation'), 0);
}

await check('it serves', async () => {
  const clock = join(folder, 'clock.so');
  execFileSync('cc', ['-O2', '-shared', '-fPIC', '-o', clock, fileURLToPath(new URL('clock.c', import.meta.url))]);
  // its events wait until the server is there
  const log = openSync(join(folder, 'simulate.log'), 'a');
  const options = ['--server', server.origin, '--back-hours', BACK_HOURS, '--speed', SPEED];
  simulation = spawn(program, ['simulate', ...options.map(String)], { stdio: ['ignore', log, log] });
  began = Date.now();
  server.environment = {
    // its thread that gives memory back waits until a moment on the clock that is moved, and would turn for ever
    MALLOC_CONF: 'background_thread:false',
    LD_PRELOAD: clock,
    MOVED_CLOCK_FROM: String(present()),
    MOVED_CLOCK_SPEED: String(SPEED),
  };
  await server.start(['serve', '--no-authentication', '--connections-max', '1000']);
  const { retentionPolicies } = await server.ask(POLICIES);
  for (const { kind } of retentionPolicies) {
    const { setRetentionPolicy } = await server.ask(SET_POLICY, { kind });
    assertEqual(told(setRetentionPolicy.userErrors), '');
  }
});

await check(`it answers for ${minutes} minutes`, async () => {
  for (let index = 1; Date.now() - began < SECONDS * 1000; index += 1) {
    assert(server.lives(), `the server ended:\n${server.lastLines()}`);
    assert(simulation.exitCode === null, 'the simulation ended');
    await step(index);
    await wait(SAMPLE_MS);
  }
});

await check('it is not behind', async () => {
  await endSimulation();
  await soon(caughtUp(), 'state of now', CATCH_UP_LIMIT_MS);
});

await check('every source has records, and alerts were opened', async () => {
  const { collectionStatus } = await server.ask(SOURCES);
  const empty = collectionStatus.sources.filter(({ records }) => records === '0');
  assertEqual(empty.map(({ source }) => source), []);
  const { alerts } = await server.ask(ALERTS);
  assert(Number(alerts.totalCount) > 0, 'no alert');
  const counts = collectionStatus.sources.map(({ source, records }) => `${source} ${records}`);
  return `${counts.join(', ')}, alerts ${alerts.totalCount}`;
});

await check('old events were archived, and older ones deleted', async () => {
  const { retentionPolicies } = await server.ask(POLICIES);
  const metrics = retentionPolicies.find(({ kind }) => kind === 'deviceMetrics');
  if (BACK_HOURS > 48) assert(Number(metrics.archivedEvents) > 0, 'nothing was archived');
  if (BACK_HOURS > 72) assert(Number(metrics.deletedEvents) > 0, 'nothing was deleted');
  return `metrics: ${metrics.archivedEvents} archived, ${metrics.deletedEvents} deleted`;
});

await check('memory is flat', () => {
  const [before, after] = [median(part(0.5, 0.75)), median(part(0.75, 1))];
  const mebibytes = [before, after, Math.max(...memory)].map((of) => Math.round(of / 1024 / 1024));
  const detail = `${mebibytes[0]} MiB in the third quarter, ${mebibytes[1]} in the last, most ${mebibytes[2]}`;
  assert(after <= Math.max(before * GROWTH_MAX, before + GROWTH_BYTES_MAX), detail);
  return detail;
});

await check('nothing was warned of', () => {
  const warned = server.log().split('\n').filter((line) => /\b(WARN|ERROR)\b/.test(line));
  assertEqual(warned.slice(0, 5), []);
});

await check('its log is sound', async () => {
  assertEqual(await server.end('SIGTERM'), 0);
  await server.verify();
});

if (server.lives()) server.process.kill('SIGKILL');
if (simulation?.exitCode === null) simulation.kill('SIGKILL');
const code = summary();
if (code === 0) rmSync(folder, { recursive: true });
else console.log(`# what it left is in ${folder}`);
process.exit(code);
