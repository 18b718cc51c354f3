/**
 * Messages of D-Bus: as much of the format as systemd needs. Pure: bytes in, values out.
 * Source: D-Bus Specification, "Type System" and "Message Protocol".
 */

/** A value as it was received. Structs and arrays are arrays, dictionaries arrays of pairs, 64-bit integers bigints, a variant its value. */
export type DbusValue = string | number | bigint | boolean | readonly DbusValue[];

export type DbusMessage = {
  readonly kind: 'call' | 'reply' | 'error' | 'signal';
  readonly serial: number;
  /** Of a reply or an error: the call that it answers. */
  readonly replySerial: number;
  readonly path: string;
  readonly interface: string;
  readonly member: string;
  readonly errorName: string;
  readonly sender: string;
  /** Decoded when it is asked for: most signals are for others. @throws {DbusFormatError} */
  body(): readonly DbusValue[];
};

export interface DbusCall {
  /** Left out on a direct connection to a service. */
  readonly destination?: string;
  readonly path: string;
  readonly interface: string;
  readonly member: string;
  /** Strings, booleans and 32-bit integers: nothing else is ever sent. */
  readonly signature?: string;
  readonly body?: readonly (string | number | boolean)[];
}

/** What answers does not speak D-Bus; the connection cannot be used any more. */
export class DbusFormatError extends Error {
  override name = 'DbusFormatError';
}

/** Larger than anything systemd sends; the specification allows 128 MiB. */
const MAX_MESSAGE_BYTES = 8 * 1024 * 1024;
const MAX_NAME_BYTES = 255;
const MAX_DEPTH = 32;
const KINDS = ['call', 'reply', 'error', 'signal'] as const;
const FIELD = {
  path: 1,
  interface: 2,
  member: 3,
  errorName: 4,
  replySerial: 5,
  destination: 6,
  sender: 7,
  signature: 8,
};
const ALIGNMENT: Readonly<Record<string, number>> = {
  y: 1,
  b: 4,
  n: 2,
  q: 2,
  i: 4,
  u: 4,
  x: 8,
  t: 8,
  d: 8,
  s: 4,
  o: 4,
  g: 1,
  a: 4,
  v: 1,
  h: 4,
  '(': 8,
  '{': 8,
};

class Writer {
  #bytes: Buffer = Buffer.alloc(256);
  #length = 0;

  align(to: number): void {
    while (this.#length % to !== 0) this.byte(0);
  }

  byte(value: number): void {
    this.#reserve(1);
    this.#length = this.#bytes.writeUInt8(value, this.#length);
  }

  uint32(value: number): void {
    this.align(4);
    this.#reserve(4);
    this.#length = this.#bytes.writeUInt32LE(value >>> 0, this.#length);
  }

  string(value: string): void {
    if (value.includes('\0')) throw new TypeError('a NUL cannot be sent over D-Bus');
    this.uint32(Buffer.byteLength(value));
    this.#text(value);
  }

  signature(value: string): void {
    this.byte(value.length);
    this.#text(value);
  }

  value(type: string, value: string | number | boolean): void {
    if ((type === 's' || type === 'o') && typeof value === 'string') this.string(value);
    else if (type === 'g' && typeof value === 'string') this.signature(value);
    else if (type === 'b' && typeof value === 'boolean') this.uint32(value ? 1 : 0);
    else if ((type === 'u' || type === 'i') && typeof value === 'number') this.uint32(value);
    else throw new TypeError(`${typeof value} cannot be sent as D-Bus type ${type}`);
  }

  bytes(): Buffer {
    return this.#bytes.subarray(0, this.#length);
  }

  #text(value: string): void {
    const size = Buffer.byteLength(value);
    this.#reserve(size + 1);
    this.#length += this.#bytes.write(value, this.#length);
    this.byte(0);
  }

  #reserve(more: number): void {
    if (this.#length + more <= this.#bytes.length) return;
    const grown = Buffer.alloc((this.#length + more) * 2);
    this.#bytes.copy(grown);
    this.#bytes = grown;
  }
}

/** A method call as bytes, in little-endian order. @throws {TypeError} for values that do not fit the signature. */
export function encodeCall(call: DbusCall, serial: number): Buffer {
  const body = new Writer();
  const types = [...(call.signature ?? '')];
  const values = call.body ?? [];
  if (types.length !== values.length) throw new TypeError(`${values.length} values for signature ${call.signature}`);
  for (const [index, value] of values.entries()) body.value(types[index] ?? '', value);
  const fields = new Writer();
  const field = (code: number, type: string, value: string | undefined) => {
    if (value === undefined) return;
    fields.align(8);
    fields.byte(code);
    fields.signature(type);
    fields.value(type, value);
  };
  field(FIELD.path, 'o', call.path);
  field(FIELD.interface, 's', call.interface);
  field(FIELD.member, 's', call.member);
  field(FIELD.destination, 's', call.destination);
  field(FIELD.signature, 'g', call.signature);
  const header = new Writer();
  for (const byte of ['l'.charCodeAt(0), KINDS.indexOf('call') + 1, 0, 1]) header.byte(byte);
  header.uint32(body.bytes().length);
  header.uint32(serial);
  header.uint32(fields.bytes().length);
  // The fields begin at offset 16, so that their own padding is right already.
  const start = Buffer.concat([header.bytes(), fields.bytes()]);
  return Buffer.concat([start, Buffer.alloc((8 - (start.length % 8)) % 8), body.bytes()]);
}

class Reader {
  readonly #data: Buffer;
  readonly #little: boolean;
  #at: number;

  constructor(data: Buffer, little: boolean, at = 0) {
    this.#data = data;
    this.#little = little;
    this.#at = at;
  }

  get at(): number {
    return this.#at;
  }

  align(to: number): void {
    this.#at += (to - (this.#at % to)) % to;
  }

  /** One value of the first complete type of `signature` from `index` on. @returns the value and where the next type begins. */
  value(signature: string, index: number, depth = 0): [value: DbusValue, next: number] {
    if (depth > MAX_DEPTH) throw new DbusFormatError('a value is nested too deeply');
    const type = signature[index] ?? '';
    const alignment = ALIGNMENT[type];
    if (alignment === undefined) throw new DbusFormatError(`unknown type in signature ${JSON.stringify(signature)}`);
    this.align(alignment);
    if (type === 'a') return this.#array(signature, index, depth);
    if (type === '(' || type === '{') return this.#struct(signature, index, depth);
    if (type === 'v') return [this.value(this.#signature(), 0, depth + 1)[0], index + 1];
    return [this.#basic(type), index + 1];
  }

  uint32(): number {
    const at = this.#take(4);
    return this.#little ? this.#data.readUInt32LE(at) : this.#data.readUInt32BE(at);
  }

  #basic(type: string): DbusValue {
    const little = this.#little;
    const data = this.#data;
    switch (type) {
      case 's':
      case 'o':
        return this.#text(this.uint32());
      case 'g':
        return this.#signature();
      case 'b':
        return this.uint32() !== 0;
      case 'u':
      case 'h':
        return this.uint32();
      case 'i':
        return this.uint32() | 0;
      case 'y':
        return data.readUInt8(this.#take(1));
      case 'n':
        return little ? data.readInt16LE(this.#take(2)) : data.readInt16BE(this.#take(2));
      case 'q':
        return little ? data.readUInt16LE(this.#take(2)) : data.readUInt16BE(this.#take(2));
      case 'd':
        return little ? data.readDoubleLE(this.#take(8)) : data.readDoubleBE(this.#take(8));
      case 'x':
        return little ? data.readBigInt64LE(this.#take(8)) : data.readBigInt64BE(this.#take(8));
      default:
        return little ? data.readBigUInt64LE(this.#take(8)) : data.readBigUInt64BE(this.#take(8));
    }
  }

  #array(signature: string, index: number, depth: number): [DbusValue, number] {
    const size = this.uint32();
    this.align(ALIGNMENT[signature[index + 1] ?? ''] ?? 1);
    const end = this.#at + size;
    if (end > this.#data.length) throw new DbusFormatError('an array is longer than its message');
    const next = endOfType(signature, index + 1);
    const items: DbusValue[] = [];
    while (this.#at < end) {
      const before = this.#at;
      items.push(this.value(signature, index + 1, depth + 1)[0]);
      if (this.#at === before) throw new DbusFormatError('an array of nothing');
    }
    if (this.#at !== end) throw new DbusFormatError('an array does not end where it said');
    return [items, next];
  }

  #struct(signature: string, index: number, depth: number): [DbusValue, number] {
    const items: DbusValue[] = [];
    let next = index + 1;
    while (signature[next] !== ')' && signature[next] !== '}') {
      const [item, after] = this.value(signature, next, depth + 1);
      items.push(item);
      next = after;
    }
    return [items, next + 1];
  }

  #signature(): string {
    return this.#text(this.#data.readUInt8(this.#take(1)));
  }

  #text(size: number): string {
    const at = this.#take(size + 1);
    return this.#data.toString('utf8', at, at + size);
  }

  #take(size: number): number {
    const at = this.#at;
    this.#at += size;
    if (this.#at > this.#data.length) throw new DbusFormatError('a value is longer than its message');
    return at;
  }
}

function endOfType(signature: string, index: number): number {
  const type = signature[index];
  if (type === 'a') return endOfType(signature, index + 1);
  if (type !== '(' && type !== '{') return index + 1;
  let at = index + 1;
  while (signature[at] !== ')' && signature[at] !== '}') {
    if (at >= signature.length) throw new DbusFormatError(`signature ${JSON.stringify(signature)} does not end`);
    at = endOfType(signature, at);
  }
  return at + 1;
}

/**
 * Takes one message off the front of what was received.
 * @returns undefined while it is not complete. @throws {DbusFormatError}
 */
export function decodeMessage(data: Buffer): { readonly message: DbusMessage; readonly size: number } | undefined {
  if (data.length < 16) return undefined;
  const order = data[0];
  if ((order !== 0x6c && order !== 0x42) || data[3] !== 1)
    throw new DbusFormatError('what answers does not speak D-Bus');
  const little = order === 0x6c;
  const head = new Reader(data, little, 4);
  const bodySize = head.uint32();
  const serial = head.uint32();
  const fieldsSize = head.uint32();
  const bodyAt = Math.ceil((16 + fieldsSize) / 8) * 8;
  const size = bodyAt + bodySize;
  if (size > MAX_MESSAGE_BYTES) throw new DbusFormatError(`a message of ${size} bytes`);
  if (data.length < size) return undefined;
  const kind = KINDS[(data[1] ?? 0) - 1];
  if (kind === undefined) throw new DbusFormatError(`unknown kind of message ${data[1]}`);
  const fields = new Map<number, DbusValue>();
  const reader = new Reader(data.subarray(0, size), little, 12);
  const [found] = reader.value('a(yv)', 0);
  for (const field of Array.isArray(found) ? found : [])
    if (Array.isArray(field) && typeof field[0] === 'number' && field[1] !== undefined) fields.set(field[0], field[1]);
  const text = (code: number) => {
    const value = fields.get(code);
    return typeof value === 'string' ? value : '';
  };
  const replySerial = fields.get(FIELD.replySerial);
  const signature = text(FIELD.signature);
  const bytes = data.subarray(bodyAt, size);
  const message: DbusMessage = {
    kind,
    serial,
    replySerial: typeof replySerial === 'number' ? replySerial : 0,
    path: text(FIELD.path),
    interface: text(FIELD.interface),
    member: text(FIELD.member),
    errorName: text(FIELD.errorName).slice(0, MAX_NAME_BYTES),
    sender: text(FIELD.sender),
    body: () => decodeBody(bytes, signature, little),
  };
  return { message, size };
}

function decodeBody(bytes: Buffer, signature: string, little: boolean): readonly DbusValue[] {
  const reader = new Reader(bytes, little);
  const values: DbusValue[] = [];
  for (let index = 0; index < signature.length; ) {
    const [value, next] = reader.value(signature, index);
    values.push(value);
    index = next;
  }
  return values;
}
