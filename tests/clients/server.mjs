// A server of our own on a log of its own, and what any script would ask of it.

import { execFile, spawn } from 'node:child_process';
import { openSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';

import { assert, assertEqual, soon } from '../checks.mjs';

const READY_LIMIT_MS = 60_000;
const READY_EVERY_MS = 100;
const LOG_LINES = 40;

/** What every client sends along with a request, and as the parameters of a socket's greeting. */
export const HEADERS = {};
const SERVE = ['serve', '--no-authentication'];

export const QUERY =
  'query Newest($first: Int!) { errorLogs(first: $first) { nodes { errorMessage } } }';
export const FOLLOW =
  'subscription Follow($after: String) { errorLogs(after: $after) { cursor errorMessage } }';
const HEAD = '{ errorLogs(first: 0) { liveCursor } }';
const RECORD =
  'mutation($input: RecordEventsInput!) { recordEvents(input: $input) { outcomes { status } } }';

export class Server {
  /** Of this program on this port; its log, unless it is in another `database`, and what it logs lie in `folder`. */
  constructor(program, port, folder, name, database = ['--database', `sqlite://${join(folder, `${name}.db`)}`]) {
    this.program = resolve(program);
    this.origin = `http://127.0.0.1:${port}`;
    this.http = `${this.origin}/graphql`;
    this.socket = `ws://127.0.0.1:${port}/graphql`;
    this.logFile = join(folder, `${name}.log`);
    this.database = database;
    this.options = [...this.database, '--listen', `127.0.0.1:${port}`];
    this.environment = {};
  }

  /** Starts it by this command, and waits until it is ready. */
  async start(command = SERVE) {
    const log = openSync(this.logFile, 'a');
    const given = [...command, ...this.options];
    const env = { ...process.env, ...this.environment };
    this.process = spawn(this.program, given, { env, stdio: ['ignore', log, log] });
    this.ended = new Promise((exits) => this.process.on('exit', exits));
    await soon(this.#ready(), 'ready server', READY_LIMIT_MS);
  }

  async #ready() {
    for (;;) {
      assert(this.lives(), `the server ended:\n${this.lastLines()}`);
      const answer = await fetch(`${this.origin}/readyz`).catch(() => null);
      if (answer?.ok) return;
      await new Promise((wait) => setTimeout(wait, READY_EVERY_MS));
    }
  }

  /** Whether it was started and has not ended since. */
  lives() {
    const { exitCode, signalCode } = this.process ?? {};
    return exitCode === null && signalCode === null;
  }

  /** Ends it by a signal; the code with which it ended. */
  end(signal) {
    this.process.kill(signal);
    return this.ended;
  }

  /** Has a file imported into its log. */
  async take(file) {
    await promisify(execFile)(this.program, ['import', file, ...this.database]);
  }

  /** Has its log checked. */
  async verify() {
    await promisify(execFile)(this.program, ['verify', ...this.database]);
  }

  /** All that it has logged since it was first started. */
  log() {
    return readFileSync(this.logFile, 'utf8');
  }

  lastLines() {
    return this.log().trimEnd().split('\n').slice(-LOG_LINES).join('\n');
  }

  /** The data of an operation that succeeds. */
  async ask(query, variables) {
    const answer = await fetch(this.http, {
      method: 'POST',
      headers: { ...HEADERS, 'content-type': 'application/json' },
      body: JSON.stringify({ query, variables }),
    });
    const { data, errors } = await answer.json();
    assert(!errors, JSON.stringify(errors));
    return data;
  }

  async #recordEvents(events) {
    const { recordEvents } = await this.ask(RECORD, { input: { events } });
    for (const outcome of recordEvents.outcomes) assertEqual(outcome, { status: 'RECORDED' });
  }

  /** Records errors with these messages. */
  record(...messages) {
    const category = 'API';
    return this.#recordEvents(
      messages.map((errorMessage) => ({ errorLog: { category, severity: 'INFO', errorMessage } })),
    );
  }

  /** Registers a site with so many devices: `name`, and `name-1`, `name-2`, … */
  register(name, devices) {
    const deviceType = 'POS_TERMINAL';
    const of = (n) => ({ deviceId: `${name}-${n}`, siteId: name, deviceType, name: `till ${n}` });
    return this.#recordEvents([
      { siteRegistration: { siteId: name, name, timeZone: 'Europe/London' } },
      ...Array.from({ length: devices }, (_, n) => ({ deviceRegistration: of(n + 1) })),
    ]);
  }

  /** Records that a device was in a state from an instant on. */
  state(deviceId, newState, occurredAt) {
    return this.#recordEvents([{ deviceStateChange: { deviceId, newState, occurredAt } }]);
  }

  /** Where what comes from now on begins. */
  async head() {
    return (await this.ask(HEAD)).errorLogs.liveCursor;
  }
}
