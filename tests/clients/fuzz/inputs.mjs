// Values for arguments and input fields, by their types and by what their names promise.

import { getNamedType, isEnumType, isInputObjectType, isListType, isNonNullType } from 'graphql';

import { list, object, of, scalar, stray } from './scalars.mjs';

const LEVELS_MAX = 4;
/** More than the server takes; beyond them lists are empty, as a body may break off that is far too large. */
const VALUES_MAX = 60_000;
const CURSORS = ['after', 'before'];
const IDS = { id: 'id', deviceIds: 'deviceId', siteIds: 'siteId', entityId: 'deviceId' };
const PAGES = ['first', 'last'];
/** How often some are given: a page has one end, and few rows only if it is told. */
const SHARES = {
  first: 0.8,
  last: 0.3,
  before: 0.1,
  after: 0.25,
  idempotencyKey: 0.2,
  occurredAt: 0.4,
};

export class Inputs {
  /** `strange` is the share of values that nobody would send. */
  constructor(random, harvest, strange) {
    Object.assign(this, { random, harvest, strange });
    this.variables = [];
    this.values = 0;
  }

  /** The arguments of a field, as the document has them. */
  arguments(field) {
    const given = this.#given(field.args, 0);
    return given.length === 0
      ? ''
      : `(${given.map(([name, value]) => `${name}: ${value.text}`).join(', ')})`;
  }

  /** Some of these arguments or fields with values, and all that must be there. */
  #given(inputs, level) {
    const { random } = this;
    const pairs = [];
    for (const input of inputs) {
      const share = SHARES[input.name] ?? 0.35 / (level + 1) + 0.05;
      const isRequired = isNonNullType(input.type) && input.defaultValue === undefined;
      const isTaken = random.chance(share);
      if (isRequired ? random.chance(this.strange * 0.03) : !isTaken) continue;
      const hasEnd = input.name === 'last' && pairs.some(([name]) => name === 'first');
      if (hasEnd && random.chance(0.8)) continue;
      pairs.push([input.name, this.#place(input, level)]);
    }
    return pairs;
  }

  /** The value of an argument or field: a literal, or a variable that has it. */
  #place({ name, type }, level) {
    const { random } = this;
    const isVariable = level < 3 && !this.isWithin && random.chance(level === 0 ? 0.5 : 0.15);
    if (!isVariable) return this.#value(name, type, level);
    this.isWithin = true; // a variable has no variables
    const value = this.#value(name, type, level);
    const usual = random.chance(0.15) ? this.#value(name, type, level) : null;
    this.isWithin = false;
    return { text: this.variable(type, value, usual), json: value.json };
  }

  /** Declares a variable with a value, and perhaps another as its default; its name. */
  variable(type, value, usual) {
    const { random } = this;
    const name = `$v${this.variables.length}`;
    const isAbsent = random.chance(usual ? 0.5 : 0.02);
    const shown = String(type) + (!usual && !isNonNullType(type) && random.chance(0.1) ? '!' : '');
    const declared = `${name}: ${shown}${usual ? ` = ${usual.text}` : ''}`;
    this.variables.push({ name: name.slice(1), declared, json: isAbsent ? undefined : value.json });
    return name;
  }

  #value(name, type, level) {
    const { random } = this;
    this.values += 1;
    if (random.chance(this.strange * 0.1)) return stray(random);
    if (isNonNullType(type)) return this.#value(name, type.ofType, level);
    if (random.chance(0.03)) return { text: 'null', json: 'null' };
    if (isListType(type)) {
      const many = random.chance(this.strange * 0.03) ? random.pick([501, 1001]) : random.int(0, 3);
      const items = [];
      while (items.length < many && this.values < VALUES_MAX)
        items.push(this.#value(name, type.ofType, level));
      return list(items);
    }
    if (isInputObjectType(type)) return this.#object(type, level + 1);
    if (isEnumType(type)) {
      const word = random.pick(type.getValues()).name;
      return { text: word, json: JSON.stringify(word) };
    }
    return this.#scalar(name, type.name);
  }

  #object(type, level) {
    const { random } = this;
    const fields = Object.values(type.getFields());
    if (type.isOneOf) {
      const count = random.chance(this.strange * 0.05) ? random.int(0, 2) : 1;
      const taken = random.some(fields, count);
      return object(taken.map(({ name, type: inner }) => [name, this.#value(name, inner, level)]));
    }
    const isDeep = level > LEVELS_MAX;
    const shallow = isDeep
      ? fields.filter(({ type: inner }) => getNamedType(inner) !== type)
      : fields;
    return object(this.#given(shallow, level));
  }

  #scalar(name, scalarName) {
    const { random } = this;
    const isEdge = random.chance(this.strange * 0.3);
    if (CURSORS.includes(name)) return this.#cursor(isEdge);
    if (PAGES.includes(name) && !isEdge) return of(random.int(0, 6));
    const known = this.harvest.of(IDS[name] ?? name);
    const [one, isOne] = [random.pick(known), random.chance(0.7)];
    if (one !== undefined && !isEdge && isOne) return of(one);
    return scalar(random, scalarName, isEdge);
  }

  /** A place that was told, or one of its kind with a wrong letter in it. */
  #cursor(isEdge) {
    const { random } = this;
    const cursor = random.pick(this.harvest.of('cursor')) ?? '';
    if (!isEdge) return of(cursor);
    const at = random.int(0, Math.max(0, cursor.length - 1));
    const letter = random.pick([...'AZaz09-_=+/ é']);
    return random.pick([
      of(cursor.slice(0, at) + letter + cursor.slice(at + 1)),
      of(cursor.slice(0, at)),
      of(`${cursor}${letter}`),
      of(Buffer.from(cursor, 'base64url').reverse().toString('base64url')),
      scalar(random, 'String', true),
    ]);
  }
}
