// Numbers that follow from a seed.

import { createHash, randomBytes } from 'node:crypto';

export const newSeed = () => randomBytes(6).toString('hex');

export class Random {
  /** The same text gives the same numbers. */
  constructor(seed) {
    this.state = createHash('sha256').update(seed).digest().readUInt32LE(0);
  }

  /** A number from 0 to below 1 (mulberry32). */
  unit() {
    this.state = (this.state + 0x6d2b79f5) | 0;
    let t = Math.imul(this.state ^ (this.state >>> 15), 1 | this.state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  }

  chance(share) {
    return this.unit() < share;
  }

  /** A whole number, both ends included. */
  int(from, to) {
    return from + Math.floor(this.unit() * (to - from + 1));
  }

  /** One of a list; undefined if it is empty. It takes one number whatever the list, so that what is
   * made next does not depend on how much a server has answered so far. */
  pick(list) {
    return list[this.int(0, Math.max(0, list.length - 1))];
  }

  /** So many different ones of a list, at most. */
  some(list, count) {
    const left = [...list];
    const taken = [];
    while (taken.length < count && left.length > 0) {
      taken.push(...left.splice(this.int(0, left.length - 1), 1));
    }
    return taken;
  }
}
