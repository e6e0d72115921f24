// The schema changes by addition or deprecation alone: it is compared with that of the last tag.

import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { promisify } from 'node:util';

import { buildSchema, findBreakingChanges } from 'graphql';

import { assert, assertEqual } from '../checks.mjs';

const git = async (...args) => (await promisify(execFile)('git', args, { maxBuffer: 1 << 26 })).stdout;

const told = (changes) => changes.map(({ type, description }) => `${type}: ${description}`);

/** What breaks clients of the schema `before` when it becomes `after`. */
const broken = (before, after) =>
  told(findBreakingChanges(buildSchema(before), buildSchema(after)));

/** The schema of the last tag before this commit, or null where there is no tag yet. */
async function released() {
  const tags = await git('tag', '--merged', 'HEAD', '--sort=-creatordate');
  const [tag] = tags.split('\n').filter(Boolean);
  return tag ? { tag, sdl: await git('show', `${tag}:schema.graphql`) } : null;
}

/** Breaking changes of some kinds must be seen, or nothing is proved. */
function control(sdl) {
  for (const [from, to, expected] of [
    ['\tviewer: Viewer!', '\twatcher: Viewer!', 'FIELD_REMOVED'],
    ['\tADMIN\n', '\tOWNER\n', 'VALUE_REMOVED_FROM_ENUM'],
    ['\tsecret: String\n', '\tsecret: Int\n', 'FIELD_CHANGED_KIND'],
    ['\t\tinput: CreateJobInput!', '\t\tinput: CreateJobInput!\n\t\tmore: Int!', 'REQUIRED_ARG_ADDED'],
  ]) {
    assert(sdl.includes(from), `the schema has no ${from}`);
    const found = broken(sdl, sdl.replace(from, to));
    assert(found.some((change) => change.startsWith(expected)), `${expected} is not seen: ${found}`);
  }
  assertEqual(broken(sdl, sdl), []);
}

/** What is deprecated says why, and until when it stays. */
function deprecations(sdl) {
  const bare = sdl
    .split('\n')
    .filter((line) => line.includes('@deprecated') && !/reason: ".+ \d{4}-\d{2}-\d{2}/.test(line));
  assertEqual(bare, []);
}

/** Compares the schema of a file with that of the last tag. */
export async function schemaCare(file) {
  const sdl = await readFile(file, 'utf8');
  control(sdl);
  deprecations(sdl);
  const before = await released();
  if (!before) return 'there is no tag yet to compare it with';
  assertEqual(broken(before.sdl, sdl), []);
  return `compared with ${before.tag}`;
}
