/**
 * A D-Bus connection over a Unix socket: to the system bus, or straight to a service that listens itself (systemd's private socket,
 * which needs no bus daemon). Why not a library: docs/decisions/0011-dbus.md.
 * Source: D-Bus Specification, "Authentication Protocol" (EXTERNAL: the kernel tells the other side who we are).
 */
import { createConnection, type Socket } from 'node:net';
import {
  type DbusCall,
  DbusFormatError,
  type DbusMessage,
  type DbusValue,
  decodeMessage,
  encodeCall,
} from './dbus-message.ts';

/** The other side answered with an error, e.g. `org.freedesktop.systemd1.NoSuchUnit`. */
export class DbusError extends Error {
  /** `lost` and `timeout` are ours: nothing is known about what the call did. */
  readonly code: string;
  constructor(code: string, message: string) {
    super(message);
    this.name = 'DbusError';
    this.code = code;
  }
}

export interface DbusOptions {
  /** A socket that a bus daemon listens on: it wants a greeting first. */
  readonly bus: boolean;
  readonly timeoutMs: number;
  readonly onSignal: (signal: DbusMessage) => void;
  /** Once, whoever ended it, but not after `close()`. */
  readonly onLost: (reason: DbusError) => void;
}

interface Pending {
  readonly timer: NodeJS.Timeout;
  readonly resolve: (body: readonly DbusValue[]) => void;
  readonly reject: (error: DbusError) => void;
}

const MAX_AUTH_BYTES = 4_096;

export class DbusConnection {
  readonly #socket: Socket;
  readonly #options: DbusOptions;
  readonly #pending = new Map<number, Pending>();
  #unread: Buffer = Buffer.alloc(0);
  #serial = 0;
  #ended: DbusError | undefined;

  private constructor(socket: Socket, rest: Buffer, options: DbusOptions) {
    this.#socket = socket;
    this.#options = options;
    socket.on('data', (chunk: Buffer) => this.#read(chunk));
    socket.on('error', (error) => this.#end(new DbusError('lost', `D-Bus connection: ${error.message}`)));
    socket.on('close', () => this.#end(new DbusError('lost', 'the D-Bus connection was closed by the other side')));
    // Whoever waits for an answer has a timer; an idle connection keeps no process alive.
    socket.unref();
    if (rest.length > 0) this.#read(rest);
  }

  /** @throws {DbusError} `lost` or `timeout`. */
  static async open(path: string, options: DbusOptions): Promise<DbusConnection> {
    const socket = createConnection(path);
    const rest = await authenticate(socket, options.timeoutMs).catch((error: unknown) => {
      socket.destroy();
      throw error;
    });
    const connection = new DbusConnection(socket, rest, options);
    if (options.bus) await connection.call({ ...BUS, member: 'Hello' }, options.timeoutMs);
    return connection;
  }

  get connected(): boolean {
    return this.#ended === undefined;
  }

  /** @throws {DbusError} what the other side answered; `timeout` when it did not (a late answer is dropped); `lost`. */
  call(call: DbusCall, timeoutMs: number): Promise<readonly DbusValue[]> {
    if (this.#ended !== undefined) return Promise.reject(this.#ended);
    this.#serial += 1;
    const serial = this.#serial;
    const bytes = encodeCall(call, serial);
    const { promise, resolve, reject } = Promise.withResolvers<readonly DbusValue[]>();
    const timer = setTimeout(() => {
      this.#pending.delete(serial);
      reject(new DbusError('timeout', `${call.member} was not answered within ${timeoutMs / 1_000} s`));
    }, timeoutMs);
    this.#pending.set(serial, { timer, resolve, reject });
    this.#socket.write(bytes);
    return promise;
  }

  /** On a bus: asks for signals. Straight to a service all of them come anyway. */
  async match(rule: string, timeoutMs: number): Promise<void> {
    if (this.#options.bus) await this.call({ ...BUS, member: 'AddMatch', signature: 's', body: [rule] }, timeoutMs);
  }

  close(): void {
    this.#ended ??= new DbusError('lost', 'the D-Bus connection was closed here');
    this.#socket.destroy();
    this.#rejectAll(this.#ended);
  }

  #read(chunk: Buffer): void {
    this.#unread = this.#unread.length === 0 ? chunk : Buffer.concat([this.#unread, chunk]);
    try {
      for (let next = decodeMessage(this.#unread); next !== undefined; next = decodeMessage(this.#unread)) {
        this.#unread = this.#unread.subarray(next.size);
        this.#take(next.message);
      }
    } catch (error) {
      if (!(error instanceof DbusFormatError)) throw error;
      this.#end(new DbusError('lost', error.message));
    }
  }

  #take(message: DbusMessage): void {
    if (message.kind === 'signal') {
      this.#options.onSignal(message);
      return;
    }
    const pending = this.#pending.get(message.replySerial);
    if (pending === undefined || message.kind === 'call') return; // too late, or a question to us (a Ping)
    this.#pending.delete(message.replySerial);
    clearTimeout(pending.timer);
    const body = message.body();
    if (message.kind === 'reply') pending.resolve(body);
    else pending.reject(new DbusError(message.errorName, typeof body[0] === 'string' ? body[0] : message.errorName));
  }

  #end(reason: DbusError): void {
    if (this.#ended !== undefined) return;
    this.#ended = reason;
    this.#socket.destroy();
    this.#rejectAll(reason);
    this.#options.onLost(reason);
  }

  #rejectAll(reason: DbusError): void {
    for (const { timer, reject } of this.#pending.values()) {
      clearTimeout(timer);
      reject(reason);
    }
    this.#pending.clear();
  }
}

const BUS = {
  destination: 'org.freedesktop.DBus',
  path: '/org/freedesktop/DBus',
  interface: 'org.freedesktop.DBus',
} as const;

/**
 * All in one write, as systemd's own clients do. A BEGIN of its own may reach systemd together with the first call, of which it then
 * takes no notice until something else arrives: seen as a call without an answer on a machine that was shutting down.
 * @returns what came after the last line of the greeting.
 */
function authenticate(socket: Socket, timeoutMs: number): Promise<Buffer> {
  const uid = Buffer.from(String(process.geteuid?.() ?? 0)).toString('hex');
  return new Promise((resolve, reject) => {
    let received: Buffer = Buffer.alloc(0);
    const done = (settle: () => void) => {
      clearTimeout(timer);
      socket.removeAllListeners();
      settle();
    };
    const fail = (code: string, why: string) =>
      done(() => reject(new DbusError(code, `cannot connect to D-Bus: ${why}`)));
    const timer = setTimeout(() => fail('timeout', 'no answer'), timeoutMs);
    socket.on('error', (error) => fail('lost', error.message));
    socket.on('close', () => fail('lost', 'the connection was closed'));
    socket.on('connect', () => socket.write(`\0AUTH EXTERNAL ${uid}\r\nBEGIN\r\n`));
    socket.on('data', (chunk: Buffer) => {
      received = Buffer.concat([received, chunk]);
      const end = received.indexOf('\r\n');
      if (end === -1) {
        if (received.length > MAX_AUTH_BYTES) fail('lost', 'what answers does not speak D-Bus');
        return;
      }
      const line = received.toString('latin1', 0, end);
      if (!line.startsWith('OK ')) {
        fail('lost', `not let in (${line.slice(0, 100)})`);
        return;
      }
      done(() => resolve(received.subarray(end + 2)));
    });
  });
}
