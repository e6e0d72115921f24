// PostgreSQL that has one session and is shared by connections over its protocol: each has its turn until its
// transaction has ended, and what it prepares is known by names of its own. What belongs to a session is shared
// all the same.

import { createServer } from 'node:net';

const [SSL, GSS, CANCEL] = [80_877_103, 80_877_104, 80_877_102];
const HEAD_BYTES = 5;
/** Where in a message the names are that clients give: of a statement or a portal. */
const NAMES = { P: [0, 1], B: [0, 2], D: [1, 1], C: [1, 1], E: [0, 1] };

function int32(number) {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32BE(number);
  return bytes;
}

const text = (string) => Buffer.from(`${string}\0`);

function message(type, ...parts) {
  const body = Buffer.concat(parts);
  return Buffer.concat([Buffer.from(type), int32(body.length + 4), body]);
}

const SETTINGS = {
  server_version: '17.5',
  client_encoding: 'UTF8',
  DateStyle: 'ISO, MDY',
  TimeZone: 'UTC',
  integer_datetimes: 'on',
  standard_conforming_strings: 'on',
};
const GREETING = Buffer.concat([
  message('R', int32(0)),
  ...Object.entries(SETTINGS).map((setting) => message('S', ...setting.map(text))),
  message('K', int32(1), int32(1)),
  message('Z', Buffer.from('I')),
]);

/** A message whose names no other connection has. */
function renamed(id, type, body) {
  const [skipped, names] = NAMES[type] ?? [0, 0];
  const parts = [body.subarray(0, skipped)];
  let at = skipped;
  for (let name = 0; name < names; name += 1) {
    const end = body.indexOf(0, at);
    const given = body.toString('utf8', at, end);
    parts.push(text(given && `c${id}_${given}`));
    at = end + 1;
  }
  return message(type, ...parts, body.subarray(at));
}

/** Whether the session is in a transaction after what it has answered. */
function isInTransaction(answer) {
  let status = 'I';
  for (let at = 0; at + HEAD_BYTES <= answer.length; at += 1 + answer.readInt32BE(at + 1)) {
    if (answer[at] === 'Z'.charCodeAt(0)) status = String.fromCharCode(answer[at + HEAD_BYTES]);
  }
  return status !== 'I';
}

class Session {
  #last = Promise.resolve();
  /** Of each connection that it is closed, and nothing of it is left to be done. */
  leavings = [];

  constructor(db) {
    this.db = db;
  }

  /** Waits until the session is nobody's; what gives it back. */
  async turn() {
    const before = this.#last;
    let done;
    this.#last = new Promise((ends) => { done = ends; });
    await before;
    return done;
  }

  async send(bytes) {
    return Buffer.from(await this.db.execProtocolRaw(bytes, { syncToFs: false }));
  }
}

/** Serves one connection. */
function serve(session, socket, id) {
  let [held, batch] = [Buffer.alloc(0), []];
  let [isBegun, endTurn] = [false, null];
  let work = Promise.resolve();
  const run = (bytes) => {
    work = work.then(async () => {
      endTurn ??= await session.turn();
      const answer = await session.send(bytes);
      if (socket.writable) socket.write(answer);
      if (isInTransaction(answer)) return;
      endTurn();
      endTurn = null;
    });
    work = work.catch((error) => socket.destroy(error));
  };
  const begin = () => {
    if (held.length < 8 || held.length < held.readInt32BE(0)) return false;
    const [startup, code] = [held.subarray(0, held.readInt32BE(0)), held.readInt32BE(4)];
    held = held.subarray(startup.length);
    if (code === SSL || code === GSS) {
      socket.write('N');
    } else if (code === CANCEL) {
      socket.end();
    } else {
      isBegun = true;
      // nobody waits for a turn before there is something to do
      socket.write(GREETING);
    }
    return true;
  };
  const take = () => {
    if (!isBegun) return begin();
    if (held.length < HEAD_BYTES || held.length < 1 + held.readInt32BE(1)) return false;
    const [type, end] = [String.fromCharCode(held[0]), 1 + held.readInt32BE(1)];
    const body = held.subarray(HEAD_BYTES, end);
    held = held.subarray(end);
    if (type === 'X') {
      socket.end();
      return false;
    }
    batch.push(renamed(id, type, body));
    if (type === 'S' || type === 'Q') run(Buffer.concat(batch.splice(0)));
    return true;
  };
  socket.on('data', (data) => {
    held = Buffer.concat([held, data]);
    while (take());
  });
  socket.on('error', () => {});
  // as the end of a session ends it
  const leave = async () => {
    await work;
    endTurn ??= await session.turn();
    await session.send(message('Q', text('ROLLBACK')));
    await session.send(message('Q', text('DISCARD TEMP')));
    endTurn();
  };
  const closed = new Promise((closes) => { socket.on('close', closes); });
  session.leavings.push(closed.then(leave));
}

/**
 * Listens on a free port of this machine; the address of its database, and what ends it: then nobody uses the
 * session any more.
 */
export async function shareSession(db) {
  const session = new Session(db);
  let connections = 0;
  const server = createServer((socket) => serve(session, socket, (connections += 1)));
  await new Promise((listens) => server.listen(0, '127.0.0.1', listens));
  const url = `postgres://postgres@127.0.0.1:${server.address().port}/postgres`;
  const end = async () => {
    await new Promise((ended) => server.close(ended));
    await Promise.all(session.leavings);
  };
  return { url, end };
}
