// Values of scalars: such as a client would send, and such as one would not.
//
// A value is the pair of its text in a document and its text in JSON, since some have only one that is
// what it should be (1e400, a lone half of a character).

const NOW_MS = Date.now();
const DAY_MS = 86_400_000;

export const of = (value) => ({ text: JSON.stringify(value), json: JSON.stringify(value) });
const raw = (text) => ({ text, json: text });

const LONG = 'x'.repeat(70_000);
const TEXTS = [
  '', ' ', 'a', 'POS', 'HEALTH_CHECK', '%', '_', '\\', "'", '"', '\'; DROP TABLE events; --', '\0',
  '\x01\x1f', 'a\0b', '\r\n', '\t', '\x7f', 'ü', 'Ä', 'é', '日本語', '👩‍👩‍👧', '\u202e', '\u200b',
  '\ufeff', '\uffff', '\u2028', '\u{10ffff}', '${x}', '{{x}}', '<script>', '../../etc/passwd',
  'null', 'NaN', 'true', '[0-9]*', 'x'.repeat(255), 'x'.repeat(256), 'ü'.repeat(255),
  '👍'.repeat(256), 'x'.repeat(10_001), LONG,
];
const HALVES = [
  raw('"\\ud800"'), raw('"\\udc00\\ud800"'), raw('"\\ud83d\\ude00"'), raw('"a\\u0000"'),
];

const TIMES = [
  '1999-12-31T23:59:59.999999Z', '2000-01-01T00:00:00Z', '1970-01-01T00:00:00Z',
  '0000-01-01T00:00:00Z', '-0001-01-01T00:00:00Z', '9999-12-31T23:59:59.999999Z',
  '+10000-01-01T00:00:00Z', '2026-12-31T23:59:60Z', '2026-02-29T00:00:00Z',
  '2024-02-29T00:00:00+14:00', '2026-01-01T00:00:00-00:00', '2026-01-01T24:00:00Z',
  '2026-01-01T00:00:00.123456789Z', '2026-01-01t00:00:00z', '2026-01-01 00:00:00Z', '2026-01-01',
  '0001-01-01T00:00:00+23:59', '9999-12-31T23:59:59-23:59', '2262-04-12T00:00:00Z',
  '294277-01-01T00:00:00Z', '', 'now', '2026-01-01T00:00:00+99:99',
];
const DATES = [
  '2026-12-25', '2024-02-29', '2025-02-29', '0000-01-01', '9999-12-31', '10000-01-01', '2026-1-1',
  '2026-13-01', '', '-2026-01-01',
];
const HOURS = [
  '08:30', '00:00', '24:00', '24:01', '23:59:59', '23:59:60', '8:30', '08:30:00.5', '', '99:99',
  '-1:00',
];
const ZONES = [
  'Europe/London', 'UTC', 'Etc/GMT+12', 'America/Argentina/Buenos_Aires', 'europe/london',
  'Mars/Phobos', '', '../UTC', '+01:00',
];
const UUIDS = [
  '01931a9f-4d5c-7c3e-9b1a-2f6d8e0c4b7a', '00000000-0000-0000-0000-000000000000',
  'ffffffff-ffff-ffff-ffff-ffffffffffff', '01931A9F-4D5C-7C3E-9B1A-2F6D8E0C4B7A',
  '{01931a9f-4d5c-7c3e-9b1a-2f6d8e0c4b7a}', '01931a9f4d5c7c3e9b1a2f6d8e0c4b7a',
  'urn:uuid:01931a9f-4d5c-7c3e-9b1a-2f6d8e0c4b7a', '01931a9f-4d5c-7c3e-9b1a-2f6d8e0c4b7', '',
];
const DECIMALS = [
  '1249.90', '0', '-0', '-0.0001', '0.00001', '99999999999999.9999', '922337203685477.5807',
  '922337203685477.5808', '-922337203685477.5808', '1e5', 'NaN', 'Infinity', '.5', '5.', '+1', '',
  ' 1', '9'.repeat(400), '0'.repeat(400), '1,5', '١',
];
const LONGS = [
  '12', '0', '-1', '9223372036854775807', '9223372036854775808', '-9223372036854775808',
  '-9223372036854775809', '1.0', '007', '1e3', '', '0x1f', '9'.repeat(400),
];
const NUMBERS = [
  '0', '-0', '1', '-1', '1000', '1001', '2147483647', '2147483648', '-2147483648', '-2147483649',
  '4294967296', '9007199254740993', '9223372036854775807', '9223372036854775808',
  '18446744073709551615', '18446744073709551616', '1e3', '1E+3', '1.5', '0.0', '-0.0', '1e308',
  '1e309', '-1e400', '1e-400', '5e-324', '0.1', '9'.repeat(400), '1'.repeat(30),
];
const STRAYS = [
  raw('null'), raw('true'), raw('1'), raw('1.5'), raw('""'), raw('[]'), raw('{}'), raw('[[]]'),
  { text: 'BANANA', json: '"BANANA"' }, raw('[null]'),
];

const time = (random) => new Date(NOW_MS - random.int(0, 40) * (DAY_MS / 20)).toISOString();

/** Usual values of each scalar. */
const USUAL = {
  Boolean: (random) => of(random.chance(0.5)),
  Date: (random) => of(time(random).slice(0, 10)),
  DateTime: (random) => of(time(random)),
  Decimal: (random) => of(`${random.int(-5, 5000)}.${random.int(0, 9999)}`),
  Float: (random) => raw(`${random.int(0, 100)}.${random.int(0, 99)}`),
  ID: (random) => of(random.pick(['pos-01-01', 'site-01', 'nobody', '1'])),
  Int: (random) => raw(`${random.int(0, 100)}`),
  JSON: (random) => json(random, 3),
  LocalTime: (random) => of(`${random.int(10, 23)}:${random.int(10, 59)}`),
  Long: (random) => of(`${random.int(0, 100_000)}`),
  String: (random) =>
    of(random.pick(['a', 'till', 'HEALTH_CHECK', '/graphql', 'person', 'ü', '%', 'receipt'])),
  TimeZone: (random) => of(random.pick(ZONES.slice(0, 4))),
  UUID: (random) => of(uuid(random)),
};

/** Values at the edge of each scalar, and beyond it. */
const EDGE = {
  Boolean: (random) => random.pick([raw('0'), of('true'), raw('null')]),
  Date: (random) => of(random.pick(DATES)),
  DateTime: (random) => of(random.pick(TIMES)),
  Decimal: (random) => random.pick([of(random.pick(DECIMALS)), raw(random.pick(NUMBERS))]),
  Float: (random) => raw(random.pick(NUMBERS)),
  ID: (random) => random.pick([text(random), raw(random.pick(NUMBERS))]),
  Int: (random) => raw(random.pick(NUMBERS)),
  JSON: (random) =>
    random.pick([
      deep(random),
      raw(random.pick(NUMBERS)),
      text(random),
      of({ '': { '': '' } }),
      of(LONG),
    ]),
  LocalTime: (random) => of(random.pick(HOURS)),
  Long: (random) => random.pick([of(random.pick(LONGS)), raw(random.pick(NUMBERS))]),
  String: (random) => text(random),
  TimeZone: (random) => of(random.pick(ZONES)),
  UUID: (random) => of(random.pick(UUIDS)),
};

function text(random) {
  if (random.chance(0.1)) return random.pick(HALVES);
  const value = random.pick(TEXTS);
  const { json } = of(value);
  const block = random.chance(0.2) && !/["\\\0-\x08\x0b\x0c\x0e-\x1f]/.test(value);
  return { text: block ? `"""${value}"""` : json, json };
}

function uuid(random) {
  const hex = Array.from({ length: 32 }, () => random.int(0, 15).toString(16)).join('');
  const [, a, b, c, d, e] = /^(.{8})(.{4})(.{3})(.{3})(.{12})/.exec(hex);
  return `${a}-${b}-7${c}-a${d}-${e}`;
}

/** Any JSON, of so many levels at most. */
function json(random, levels) {
  const kind = levels === 0 ? random.int(0, 3) : random.int(0, 5);
  if (kind === 4)
    return list(Array.from({ length: random.int(0, 4) }, () => json(random, levels - 1)));
  if (kind === 5) {
    const keys = random.some(['a', 'b', 'key', '_x', '__y'], random.int(0, 3));
    return object(keys.map((key) => [key, json(random, levels - 1)]));
  }
  const { text: word, json: written } = of(random.pick(['', 'a', 'ü', '0', '日本']));
  return [
    raw('null'),
    raw('true'),
    raw(random.pick(['0', '-1', '1.25', '9007199254740993'])),
    { text: word, json: written },
  ][kind];
}

/** JSON of more levels than one would think of. */
function deep(random) {
  const levels = random.pick([10, 63, 64, 65, 90, 97, 200]);
  return random.chance(0.5)
    ? raw('['.repeat(levels) + ']'.repeat(levels))
    : {
        text: '{a:'.repeat(levels) + '1' + '}'.repeat(levels),
        json: '{"a":'.repeat(levels) + '1' + '}'.repeat(levels),
      };
}

export function list(items) {
  return {
    text: `[${items.map((item) => item.text).join(', ')}]`,
    json: `[${items.map((item) => item.json).join(',')}]`,
  };
}

/** An object of pairs of names and values. */
export function object(fields) {
  return {
    text: `{${fields.map(([name, value]) => `${name}: ${value.text}`).join(', ')}}`,
    json: `{${fields.map(([name, value]) => `${JSON.stringify(name)}:${value.json}`).join(',')}}`,
  };
}

export const stray = (random) => random.pick(STRAYS);

export function scalar(random, name, isEdge) {
  const make = (isEdge ? EDGE : USUAL)[name];
  if (!make) throw new Error(`no values are known for the scalar ${name}`);
  return make(random);
}
