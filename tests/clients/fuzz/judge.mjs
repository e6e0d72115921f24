// What is wrong with an answer: by the promises of README, and by what graphql-js makes of the same
// operation.

import { executeSync, getOperationAST, getVariableValues, parse, validate } from 'graphql';

const BYTES_MAX = 64 << 20;
const STATUSES = [200, 400, 404, 405, 406, 408, 413, 415, 421];
/** The status of what a role may not ask for, and of nothing else. */
const FORBIDDEN = { status: 403, code: '"code":"FORBIDDEN"' };
/** A socket is closed for a message that is none: too large, or no JSON. */
const CLOSED = [4400];
/** What the server takes, although the language does not. */
const LENIENT = [
  /^Fields ".*" conflict/, // one of them is answered: the library compares only fields beside each other
  /Int cannot represent non 32-bit/, // its bounds are those of the field, and the outcome of its event
];
/** What it does not take, although the language does: a number that none of its types can hold. */
const STRICT = /^invalid number: number out of range/;
const OF_DOCUMENT = ['PARSE_FAILED', 'VALIDATION_FAILED'];

/** The codes in README's table of errors. */
export function codesOf(readme) {
  const table = /^\| code \|[\s\S]*?\n\n/m.exec(readme)?.[0] ?? '';
  const cells = table.split('\n').map((line) => line.split('|')[1] ?? '');
  return new Set(
    cells.flatMap((cell) => [...cell.matchAll(/`([A-Z_]+)`/g)].map(([, code]) => code)),
  );
}

/** Why something is refused; null if the server need not refuse it too. */
function refusal(messages) {
  const strict = messages.filter((message) => !LENIENT.some((lenient) => lenient.test(message)));
  return strict.length > 0 ? { refused: strict[0] } : null;
}

/** What graphql-js says of an operation: why it is refused, or its parts; null if it cannot tell. */
export function expectation(schema, { document, variables }) {
  let parsed;
  try {
    parsed = parse(document);
  } catch (error) {
    return { refused: error.message };
  }
  let invalid;
  try {
    invalid = validate(schema, parsed).map(({ message }) => message);
  } catch {
    return null; // a directive of a subscription's field without its variable is too much for it
  }
  if (invalid.length > 0) return refusal(invalid);
  const node = getOperationAST(parsed);
  if (!node) return { refused: 'no operation, or more than one' };
  let given;
  try {
    given = JSON.parse(variables);
  } catch {
    return { refused: 'variables that are no JSON' };
  }
  const { errors } = getVariableValues(schema, node.variableDefinitions ?? [], given);
  return errors ? refusal(errors.map(({ message }) => message)) : { document: parsed, node, given };
}

function errorFaults(error, codes) {
  const code = error?.extensions?.code;
  if (typeof error?.message !== 'string' || error.message === '')
    return ['an error without a message'];
  if (code === 'INTERNAL') return [`a fault of the server: ${error.message}`];
  if (!codes.has(code)) return [`a code that README does not tell: ${code}, ${error.message}`];
  if (typeof error.extensions.retryable !== 'boolean') return [`${code} without retryable`];
  return [];
}

/** The data that graphql-js makes of data: the same, if it fits the schema and what was asked. */
function rebuilt(schema, { document, node, given }, data) {
  const rootType = schema.getRootType(node.operation);
  const asQuery = { ...node, operation: 'query' };
  const definitions = document.definitions.map((part) => (part === node ? asQuery : part));
  const config = { ...schema.toConfig(), query: rootType };
  return executeSync({
    schema: new schema.constructor({ ...config, assumeValid: true }),
    document: { ...document, definitions },
    rootValue: data,
    variableValues: given,
    fieldResolver: (source, _arguments, _context, { path }) => source[path.key],
    typeResolver: ({ __typename }) => __typename,
  });
}

function answerFaults(schema, codes, expected, answer) {
  if (answer === null || typeof answer !== 'object' || Array.isArray(answer)) return ['no object'];
  const { errors, data } = answer;
  if (errors === undefined && data === undefined) return ['neither data nor errors'];
  if (errors !== undefined && !(Array.isArray(errors) && errors.length > 0))
    return ['errors that are no list'];
  const faults = (errors ?? []).flatMap((error) => errorFaults(error, codes));
  if (!expected) return faults;
  if (expected.refused !== undefined) {
    return errors ? faults : [...faults, `taken, although graphql-js says: ${expected.refused}`];
  }
  const ofDocument = (errors ?? []).filter(
    ({ extensions, message }) =>
      OF_DOCUMENT.includes(extensions?.code) && !STRICT.test(message ?? ''),
  );
  faults.push(
    ...ofDocument.map(({ message }) => `refused, although graphql-js takes it: ${message}`),
  );
  if (errors === undefined) {
    const made = rebuilt(schema, expected, data);
    if (made.errors) faults.push(`data that graphql-js does not take: ${made.errors[0].message}`);
    else if (JSON.stringify(made.data) !== JSON.stringify(data)) {
      faults.push('data that was not asked for, is missing, or stands in another order');
    }
  }
  return faults;
}

/** What is wrong with what a request was answered, a line each. */
export function faultsOf(schema, codes, expected, { status, type, texts, closed }) {
  const faults = [];
  const isForbidden =
    status === FORBIDDEN.status && texts.every((text) => text.includes(FORBIDDEN.code));
  if (!STATUSES.includes(status) && !isForbidden) faults.push(`status ${status}`);
  if (closed !== undefined && !CLOSED.includes(closed))
    faults.push(`the socket was closed with ${closed}`);
  if (!/^application\/(graphql-response\+)?json/.test(type))
    faults.push(`an answer of the type ${type}`);
  for (const text of texts) {
    if (Buffer.byteLength(text) > BYTES_MAX) faults.push(`an answer of ${text.length} characters`);
    try {
      faults.push(...answerFaults(schema, codes, expected, JSON.parse(text)));
    } catch (error) {
      faults.push(`an answer that cannot be read: ${error.message}: ${text.slice(0, 200)}`);
    }
  }
  return faults;
}
