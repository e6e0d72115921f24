// Operations that are made up from the schema of a running demo, and what it answers to them.
//
// The same seed makes the same operations, save for the cursors and ids in them, which are those that
// the demo has told, and for times, which are reckoned from now.

import { readFile } from 'node:fs/promises';

import { buildClientSchema, getIntrospectionQuery } from 'graphql';

import { assert, check } from '../../checks.mjs';
import { operation } from './documents.mjs';
import { BEGINNING, Harvest } from './harvest.mjs';
import { codesOf, expectation, faultsOf } from './judge.mjs';
import { Random, newSeed } from './random.mjs';
import { wayOf } from './ways.mjs';

const SHOWN_MAX = 8;
const SHOWN_CHARACTERS_MAX = 3_000;
const ANSWERED_SHARE_MIN = 0.3;

export class Fuzz {
  constructor(server, seed = newSeed()) {
    Object.assign(this, { server, seed, harvest: new Harvest() });
    this.failed = [];
    this.counted = { data: 0, silent: 0, bytes: 0, codes: {} };
  }

  async begin(readme) {
    const query = getIntrospectionQuery({ oneOf: true, inputValueDeprecation: true });
    this.schema = buildClientSchema(await this.server.ask(query));
    this.codes = codesOf(await readFile(readme, 'utf8'));
    assert(this.codes.has('INTERNAL'), 'README has no table of codes');
    this.harvest.take(await this.server.ask(BEGINNING));
  }

  async run(operations) {
    for (let n = 0; n < operations && this.failed.length < SHOWN_MAX; n += 1) await this.#one(n);
    assert(this.failed.length === 0, this.failed.join('\n\n'));
    const { data, silent, bytes, codes } = this.counted;
    assert(data >= ANSWERED_SHARE_MIN * operations, `only ${data} of ${operations} gave data`);
    const told = Object.entries(codes).map(([code, times]) => `${code} ${times}`);
    const rest = `${silent} streams without an item, ${bytes} bytes at most`;
    return `${data} with data, ${told.sort().join(', ')}, ${rest}`;
  }

  async #one(n) {
    const random = new Random(`${this.seed}:${n}`);
    const made = operation(this.schema, random, this.harvest);
    const [name, way] = wayOf(random, made);
    const expected = name === 'a wrong request' ? null : expectation(this.schema, made);
    let faults;
    let answer;
    try {
      answer = await way(this.server, made);
      faults = faultsOf(this.schema, this.codes, expected, answer);
    } catch (error) {
      faults = [`no answer: ${error.message} ${error.cause?.message ?? ''}`];
    }
    if (!this.server.lives()) faults.push('the server has ended');
    if (faults.length > 0) this.#tell(n, name, made, faults, answer);
    else this.#count(answer);
  }

  #count({ texts }) {
    const { counted } = this;
    const answers = texts.map((text) => JSON.parse(text));
    answers.forEach(({ data }) => this.harvest.take(data));
    counted.bytes = Math.max(counted.bytes, ...texts.map((text) => Buffer.byteLength(text)));
    const code = answers.flatMap(({ errors }) => errors ?? [])[0]?.extensions.code;
    if (texts.length === 0) counted.silent += 1;
    else if (code) counted.codes[code] = (counted.codes[code] ?? 0) + 1;
    else counted.data += 1;
  }

  #tell(n, way, { document, variables }, faults, answer) {
    const short = (text) => text.slice(0, SHOWN_CHARACTERS_MAX);
    const told = [
      `operation ${n} of seed ${this.seed}, by ${way}: ${[...new Set(faults)].join('; ')}`,
    ];
    told.push(`  document: ${short(document)}`, `  variables: ${short(variables)}`);
    told.push(`  answer: ${short(answer?.texts.join('\n') ?? 'none')}`);
    this.failed.push(told.join('\n'));
  }
}

/** Runs so many operations against a demo of its own, and looks at what it leaves. */
export async function fuzz(server, operations, readme) {
  const made = new Fuzz(server, process.env.HOMEPOT_TEST_FUZZ_SEED);
  await server.start(['demo', '--history-hours', '6']);
  await made.begin(readme);
  const name = `${operations} made up operations are answered (HOMEPOT_TEST_FUZZ_SEED=${made.seed})`;
  await check(name, () => made.run(operations));
  await check('nothing in the server panicked, and it stops when it is told to', async () => {
    const code = await server.end('SIGTERM');
    assert(code === 0, `it ended with ${code}`);
    assert(!/panicked/.test(server.log()), server.lastLines());
  });
  await check('the log keeps its promises after them', () => server.verify());
}
