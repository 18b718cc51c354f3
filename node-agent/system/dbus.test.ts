import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { DbusConnection, DbusError, type DbusOptions } from './dbus.ts';
import { type DbusCall, DbusFormatError, decodeMessage, encodeCall } from './dbus-message.ts';

const call: DbusCall = {
  destination: 'org.freedesktop.systemd1',
  path: '/org/freedesktop/systemd1',
  interface: 'org.freedesktop.systemd1.Manager',
  member: 'KillUnit',
  signature: 'ssi',
  body: ['größer.service', 'all', -9],
};

test('a call is what it says when it is read again', () => {
  const bytes = encodeCall(call, 7);
  const decoded = decodeMessage(Buffer.concat([bytes, Buffer.from('more')]));
  assert.equal(decoded?.size, bytes.length);
  const { message } = decoded ?? assert.fail('not complete');
  assert.deepEqual(
    [message.kind, message.serial, message.path, message.interface, message.member, message.body()],
    ['call', 7, call.path, call.interface, call.member, call.body],
  );
});

test('a call that does not fit its signature, or holds a NUL, is not sent', () => {
  assert.throws(() => encodeCall({ ...call, body: ['a'] }, 1), /1 values for signature ssi/);
  assert.throws(() => encodeCall({ ...call, body: ['a', 'b', 'c'] }, 1), /string cannot be sent as D-Bus type i/);
  assert.throws(() => encodeCall({ ...call, body: ['a\0', 'b', 1] }, 1), /NUL/);
});

/** A reply of this signature to the call with that serial. */
function reply(body: Buffer, signature: string, to = 1): Buffer {
  const fields = Buffer.concat([
    Buffer.from([5, 1, 0x75, 0, to, 0, 0, 0]),
    Buffer.from([8, 1, 0x67, 0, signature.length]),
    Buffer.from(`${signature}\0`),
  ]);
  const header = Buffer.from([0x6c, 2, 0, 1, body.length, 0, 0, 0, 9, 0, 0, 0, fields.length, 0, 0, 0]);
  const start = Buffer.concat([header, fields]);
  return Buffer.concat([start, Buffer.alloc((8 - (start.length % 8)) % 8), body]);
}

test('variants, structs, arrays and 64-bit numbers are read', () => {
  const bytes = [
    [27, 0, 0, 0, 0, 0, 0, 0],
    [1, 0, 0, 0, 0x4a, 0, 4, 0x28], // "J" → variant of
    [0x75, 0x6f, 0x29, 0, 0, 0, 0, 0], // (uo)
    [3, 0, 0, 0, 2, 0, 0, 0, 0x2f, 0x61, 0, 0, 0, 0, 0, 0], // 3, "/a"
    [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
  ].flat();
  const decoded = decodeMessage(reply(Buffer.from(bytes), 'a{sv}t'));
  assert.deepEqual(decoded?.message.body(), [[['J', [3, '/a']]], 0xffff_ffff_ffff_ffffn]);
  assert.equal(decoded?.message.replySerial, 1);
});

test('what is cut short is waited for, what is broken is refused, whatever it is', () => {
  const whole = encodeCall(call, 3);
  for (let size = 0; size < whole.length; size++) assert.equal(decodeMessage(whole.subarray(0, size)), undefined);
  assert.throws(() => decodeMessage(Buffer.from('HTTP/1.1 400 Bad Request')), DbusFormatError);
  let seed = 1;
  const random = () => {
    seed = (seed * 1_103_515_245 + 12_345) & 0x7fff_ffff;
    return seed;
  };
  for (let n = 0; n < 20_000; n++) {
    const bytes = Buffer.from(whole);
    for (let flips = 0; flips <= n % 4; flips++) bytes[random() % bytes.length] = random() & 0xff;
    try {
      decodeMessage(bytes)?.message.body();
    } catch (error) {
      assert.ok(error instanceof DbusFormatError, `${String(error)} for ${bytes.toString('hex')}`);
    }
  }
  for (const [signature, body] of [
    ['a()', [8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]],
    ['v', [1, 0x76, 0]],
    ['(s', [0, 0, 0, 0, 0]],
    ['as', [0xff, 0xff, 0xff, 0x7f]],
  ] as const)
    assert.throws(() => decodeMessage(reply(Buffer.from(body), signature))?.message.body(), DbusFormatError, signature);
});

const directory = mkdtempSync(join(tmpdir(), 'holdfast-dbus-'));
after(() => rmSync(directory, { recursive: true, force: true }));
let servers = 0;

async function serving(answer: (socket: Socket, data: Buffer, nth: number) => void): Promise<[string, Server]> {
  const path = join(directory, String(++servers));
  const server = createServer((socket) => {
    let nth = 0;
    socket.on('error', () => undefined); // The client's end is what is looked at.
    socket.on('data', (data: Buffer) => answer(socket, data, nth++));
  });
  await new Promise<void>((resolve) => server.listen(path, resolve));
  return [path, server];
}

const options = (more: Partial<DbusOptions> = {}): DbusOptions => ({
  bus: false,
  timeoutMs: 2_000,
  onSignal: () => undefined,
  onLost: () => undefined,
  ...more,
});
const isError = (code: string, message: RegExp) => (error: unknown) =>
  error instanceof DbusError && error.code === code && message.test(error.message);

test('a first call that reached systemd together with BEGIN had no answer: the greeting is one write, and calls wait for its answer', async () => {
  const seen: string[] = [];
  const [path, server] = await serving((socket, data, nth) => {
    seen.push(data.toString('latin1'));
    if (nth === 0) socket.write('OK 0123456789abcdef0123456789abcdef\r\n');
    else socket.write(reply(Buffer.from([2, 0, 0, 0, 0x6f, 0x6b, 0]), 's'));
  });
  const connection = await DbusConnection.open(path, options());
  assert.deepEqual(await connection.call(call, 2_000), ['ok']);
  const uid = Buffer.from(String(process.geteuid?.())).toString('hex');
  assert.equal(seen[0], `\0AUTH EXTERNAL ${uid}\r\nBEGIN\r\n`);
  connection.close();
  server.close();
});

test('a connection that is refused, says nothing, speaks something else or breaks off is an error that says so', async () => {
  await assert.rejects(DbusConnection.open(join(directory, 'none'), options()), isError('lost', /ENOENT/));
  const [silent, one] = await serving(() => undefined);
  await assert.rejects(DbusConnection.open(silent, options({ timeoutMs: 50 })), isError('timeout', /no answer/));
  const [refusing, two] = await serving((socket) => socket.write('REJECTED EXTERNAL\r\n'));
  await assert.rejects(DbusConnection.open(refusing, options()), isError('lost', /not let in \(REJECTED EXTERNAL\)/));
  const lost = Promise.withResolvers<string>();
  const [breaking, three] = await serving((socket, _data, nth) => {
    if (nth === 0) socket.write('OK x\r\n');
    else socket.end('this is no message of D-Bus');
  });
  const connection = await DbusConnection.open(breaking, options({ onLost: ({ message }) => lost.resolve(message) }));
  await assert.rejects(connection.call(call, 2_000), isError('lost', /does not speak D-Bus/));
  assert.match(await lost.promise, /does not speak D-Bus/);
  await assert.rejects(connection.call(call, 2_000), isError('lost', /does not speak D-Bus/));
  const [deaf, four] = await serving((socket, _data, nth) => nth === 0 && socket.write('OK x\r\n'));
  const waiting = await DbusConnection.open(deaf, options());
  await assert.rejects(waiting.call(call, 50), isError('timeout', /KillUnit was not answered within 0\.05 s/));
  waiting.close();
  for (const server of [one, two, three, four]) server.close();
});
