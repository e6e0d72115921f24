// The browser of the tests, and what is read from and typed into GraphiQL's page.

import { chromium } from 'playwright-core';

import { assert } from '../checks.mjs';

const FLAGS = [
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

/** Chromium, or the browser that HOMEPOT_TEST_CHROMIUM names. */
export function launch() {
  return chromium.launch({
    executablePath: process.env.HOMEPOT_TEST_CHROMIUM ?? '/usr/bin/chromium',
    args: FLAGS,
  });
}

/** The message of an error, without Playwright's log of the call. */
export function reason(error) {
  return error.message.split('\nCall log:')[0];
}

/**
 * The answer in the result pane, once there is one that is not `unlike`. An answer that has
 * errors ends the wait too.
 */
export async function shownAnswer(page, limit_ms, unlike) {
  const handle = await page.waitForFunction(
    (unlike) => {
      const pane = document.querySelector('.graphiql-response .CodeMirror');
      const text = pane?.CodeMirror.getValue() ?? '';
      return text !== '' && text !== unlike && text;
    },
    unlike ?? '',
    { timeout: limit_ms, polling: 'raf' },
  );
  const text = await handle.jsonValue();
  assert(text.startsWith('{'), `the result pane shows: ${text}`);
  return { text, ...JSON.parse(text) };
}

export async function run(page) {
  await page.getByRole('button', { name: /^Execute query/ }).click();
}

export async function stop(page) {
  await page.getByRole('button', { name: /^Stop query/ }).click();
  await page.getByRole('button', { name: /^Execute query/ }).waitFor();
}
