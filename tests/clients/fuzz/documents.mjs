// Operations that are made up from the schema.

import {
  getNamedType,
  isAbstractType,
  isCompositeType,
  isObjectType,
  GraphQLBoolean,
  GraphQLNonNull,
} from 'graphql';

import { Inputs } from './inputs.mjs';
import { of } from './scalars.mjs';

const LEVELS_MAX = 7;
const BOOLEAN = new GraphQLNonNull(GraphQLBoolean);

class Maker {
  constructor(schema, random, harvest, strange) {
    Object.assign(this, { schema, random });
    this.inputs = new Inputs(random, harvest, strange);
    this.fragments = [];
    this.names = 0;
  }

  #name(stem) {
    this.names += 1;
    return `${stem}_${this.names}`;
  }

  /** A directive that may leave something out, by a literal or by a variable. */
  #directive() {
    const { random, inputs } = this;
    if (!random.chance(0.08)) return '';
    const value = of(random.chance(0.7));
    const given = random.chance(0.5) ? inputs.variable(BOOLEAN, value) : value.text;
    return random.chance(0.5) ? ` @include(if: ${given})` : ` @skip(if: ${given})`;
  }

  field(field, level, isStream = false) {
    const { random } = this;
    const hasArguments = field.args.length > 0;
    const isNamed = random.chance(hasArguments ? 0.6 : 0.1);
    const alias = isNamed ? `${this.#name(field.name)}: ` : '';
    const given = this.inputs.arguments(field);
    const type = getNamedType(field.type);
    const selected = isCompositeType(type) ? ` ${this.selection(type, level + 1)}` : '';
    return `${alias}${field.name}${given}${isStream ? '' : this.#directive()}${selected}`;
  }

  /** What is asked of a type; of an abstract one its name too, without which nobody can read it. */
  selection(type, level) {
    const { random } = this;
    const parts = isAbstractType(type) || random.chance(0.1) ? ['__typename'] : [];
    const fields = Object.values(type.getFields?.() ?? {});
    const isLeaf = (field) => !isCompositeType(getNamedType(field.type));
    const leaves = fields.filter(isLeaf);
    const others = level < LEVELS_MAX ? fields.filter((field) => !isLeaf(field)) : [];
    const chosen = random.some(leaves, random.int(0, 4));
    chosen.push(...random.some(others, random.chance(0.7) ? 1 : random.int(0, 2)));
    parts.push(...chosen.map((field) => this.field(field, level)));
    if (level < LEVELS_MAX && random.chance(isAbstractType(type) ? 0.7 : 0.12)) {
      parts.push(this.#fragment(type, level));
    }
    if (parts.length === 0) parts.push(random.pick(leaves)?.name ?? '__typename');
    return `{ ${parts.join(' ')} }`;
  }

  #fragment(type, level) {
    const { random } = this;
    const types = isAbstractType(type)
      ? this.schema.getPossibleTypes(type)
      : [type, ...(isObjectType(type) ? type.getInterfaces() : [])];
    const on = random.pick(types);
    const again = this.fragments.filter((fragment) => fragment.on === on);
    if (again.length > 0 && random.chance(0.3))
      return `...${random.pick(again).name}${this.#directive()}`;
    const selected = this.selection(on, level + 1);
    if (random.chance(0.5)) {
      const condition = on === type && random.chance(0.5) ? '' : ` on ${on.name}`;
      return `...${condition}${this.#directive()} ${selected}`;
    }
    const name = this.#name('F');
    this.fragments.push({ name, on, text: `fragment ${name} on ${on.name} ${selected}` });
    return `...${name}${this.#directive()}`;
  }

  operation(kind) {
    const { random } = this;
    const root = this.schema[`get${kind}Type`]();
    const fields = Object.values(root.getFields());
    const isStream = kind === 'Subscription'; // whose field must not be left out
    const count = isStream ? 1 : random.pick([1, 1, 1, 2, 3]);
    const asked = random.some(fields, count).map((field) => this.field(field, 0, isStream));
    const { variables } = this.inputs;
    const declared =
      variables.length > 0 ? `(${variables.map((one) => one.declared).join(', ')})` : '';
    const isShort = kind === 'Query' && !declared && random.chance(0.3);
    const head = isShort ? '' : `${kind.toLowerCase()} Made${declared} `;
    const fragments = this.fragments.map(({ text }) => `\n${text}`).join('');
    const given = variables.filter(({ json }) => json !== undefined);
    return {
      kind,
      document: `${head}{ ${asked.join(' ')} }${fragments}`,
      variables: `{${given.map(({ name, json }) => `"${name}":${json}`).join(',')}}`,
    };
  }
}

const SCRAPS = [
  '{', '}', '(', ')', '[', ']', '"', '"""', '...', '$', '@', '!', ':', '=', '|', '&', '#', ',',
  '\\', '\0', '\ufeff', '👍', 'ü', '\r', 'null', 'on', 'fragment F on Query { ...F }', '...F_1',
  '@skip', '@include(if: 1)', '@deprecated', '@oneOf', '$v0', '$v0: Int', 'query',
  'query A { __typename }', 'mutation', 'subscription { events { id } }', 'type A { b: C }',
  'extend schema', '{ __schema { types { name } } }', '__typename',
  '__type(name: "Query") { name }', 'id id id', 'id(a: 1)', 'nodes { id }', '1e999', '-', '0x1',
  '"\\u{110000}"', '"\\q"', '99999999999999999999',
];

/** A document with something wrong somewhere. */
function broken(random, document) {
  let text = document;
  for (let time = random.int(1, 3); time > 0; time -= 1) {
    const from = random.int(0, text.length);
    const to = Math.min(text.length, from + random.int(1, random.pick([1, 1, 8, 200])));
    const words = text.match(/[A-Za-z]\w+/g) ?? ['a'];
    text = random.pick([
      () => text.slice(0, from) + text.slice(to),
      () => text.slice(0, from) + random.pick(SCRAPS) + text.slice(from),
      () => `${text.slice(0, from)} ${random.pick(SCRAPS)} ${text.slice(to)}`,
      () => text.slice(0, to) + text.slice(from),
      () => text.slice(0, from),
      () => text.replace(random.pick(words), random.pick(words)),
      () => text.replaceAll(random.pick(words), random.pick(words)),
      () =>
        text.slice(0, from) +
        random.pick(['{', '[', '(', '{a', '"', '#']).repeat(random.pick([3, 100, 3000])) +
        text.slice(from),
    ])();
  }
  return text;
}

/** An operation; a share of them nobody would send. */
export function operation(schema, random, harvest) {
  const kind = random.pick([
    'Query',
    'Query',
    'Query',
    'Query',
    'Query',
    'Mutation',
    'Mutation',
    'Subscription',
  ]);
  const strange = random.pick([0, 0, 0.3, 1]);
  const made = new Maker(schema, random, harvest, strange).operation(kind);
  if (random.chance(0.12)) made.document = broken(random, made.document);
  return made;
}
