// Python's client `gql`, as the program beside this file uses it.

import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';

import { HEADERS } from './server.mjs';

const LIMIT_MS = 60_000;
const PROGRAM = fileURLToPath(new URL('python_gql.py', import.meta.url));

export async function pythonGql(server, python) {
  const given = [PROGRAM, server.http, server.socket, JSON.stringify(HEADERS)];
  await new Promise((done, failed) => {
    execFile(python, given, { timeout: LIMIT_MS }, (error, stdout, stderr) => {
      if (error) failed(new Error(`${error.message}\n${stdout}${stderr}`));
      else done();
    });
  });
}
