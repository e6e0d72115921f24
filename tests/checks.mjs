// The harness that tests/clients and tests/browser share: a line per check, and a tally.

const LIMIT_MS = 30_000;
const tally = { passed: 0, failed: 0 };

/**
 * Runs one check: passed if `body` returns, failed if it throws. What it returns is printed beside its
 * name, what it throws as `told` tells it.
 */
export async function check(name, body, told = (error) => error?.stack ?? JSON.stringify(error)) {
  try {
    const detail = await body();
    tally.passed += 1;
    console.log(`ok - ${name}${detail ? ` (${detail})` : ''}`);
  } catch (error) {
    tally.failed += 1;
    console.log(`not ok - ${name}: ${told(error)}`);
  }
}

/** Prints how many checks passed; the code with which to exit. */
export function summary() {
  console.log(`${tally.passed} passed, ${tally.failed} failed`);
  return tally.failed === 0 ? 0 : 1;
}

export function assert(condition, message) {
  if (!condition) throw new Error(message);
}

export function assertEqual(given, expected) {
  const [left, right] = [given, expected].map((value) => JSON.stringify(value));
  assert(left === right, `${left} instead of ${right}`);
}

/** What a promise comes to, unless it takes too long. */
export function soon(promise, what, limit_ms = LIMIT_MS) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no ${what} in time`)), limit_ms);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}
