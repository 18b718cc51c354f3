/**
 * The writer's own process: inserts numbered rows through an address, one after the other, and writes the outcome of each as one JSON
 * line. A row that was not acknowledged is never tried again: it may be there or not. Speaks the client protocol of MariaDB itself, so
 * that it knows to the millisecond what was acknowledged when.
 *
 * Runs inside the network's namespace: node writer-probe.ts ADDRESS FIRST_NUMBER INTERVAL_MS TIMEOUT_MS
 */
import { connect, type Socket } from 'node:net';
import { monotonicMs } from '../lab/until.ts';

const [address = '', first = '1', interval = '50', timeout = '1500'] = process.argv.slice(2);
const CLIENT = { longPassword: 1, withDatabase: 8, protocol41: 0x200, secureConnection: 0x8000, pluginAuth: 0x80000 };
const capabilities = Object.values(CLIENT).reduce((sum, flag) => sum | flag, 0);
const [OK, SWITCH, ERROR, QUERY] = [0x00, 0xfe, 0xff, 0x03];

/** One connection; packets are asked for one at a time. */
class Connection {
  readonly #socket: Socket;
  #received = Buffer.alloc(0);
  #wake: () => void = () => undefined;
  #failure: Error | undefined;

  constructor(socket: Socket) {
    this.#socket = socket;
    socket.setNoDelay(true);
    socket.on('data', (data) => {
      this.#received = Buffer.concat([this.#received, data]);
      this.#wake();
    });
    socket.on('error', (error) => this.fail(error));
    socket.on('close', () => this.fail(new Error('closed')));
  }

  fail(error: Error): void {
    this.#failure ??= error;
    this.#socket.destroy();
    this.#wake();
  }

  get failed(): boolean {
    return this.#failure !== undefined;
  }

  send(sequence: number, payload: Buffer): void {
    const header = Buffer.alloc(4);
    header.writeUIntLE(payload.length, 0, 3);
    header.writeUInt8(sequence, 3);
    this.#socket.write(Buffer.concat([header, payload]));
  }

  /** The next packet. Throws when the connection or the time is at its end; then the connection is, too. */
  async packet(deadlineMs: number): Promise<Buffer> {
    const timer = setTimeout(() => this.fail(new Error('no answer in time')), deadlineMs);
    try {
      for (;;) {
        const length = this.#received.length < 4 ? undefined : this.#received.readUIntLE(0, 3);
        if (length !== undefined && this.#received.length >= 4 + length) {
          const payload = this.#received.subarray(4, 4 + length);
          this.#received = this.#received.subarray(4 + length);
          return payload;
        }
        if (this.#failure !== undefined) throw this.#failure;
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      }
    } finally {
      clearTimeout(timer);
    }
  }
}

/** Throws what the server says when it is an error. */
function mustBeOk(packet: Buffer): void {
  if (packet[0] === ERROR) throw new Error(packet.subarray(9).toString('utf8'));
  if (packet[0] !== OK) throw new Error(`an answer that begins with ${packet[0]}`);
}

/** A connection as the user `writer`, who has no password. */
async function open(deadlineMs: number): Promise<Connection> {
  const connection = new Connection(connect({ host: address, port: 3306 }));
  const greeting = await connection.packet(deadlineMs);
  if (greeting[0] === ERROR) throw new Error(greeting.subarray(3).toString('utf8'));
  const fixed = Buffer.alloc(32);
  fixed.writeUInt32LE(capabilities, 0);
  fixed.writeUInt32LE(1 << 24, 4);
  fixed.writeUInt8(45, 8); // utf8mb4
  connection.send(1, Buffer.concat([fixed, Buffer.from('writer\0\0app\0mysql_native_password\0')]));
  let answer = await connection.packet(deadlineMs);
  if (answer[0] === SWITCH) {
    connection.send(3, Buffer.alloc(0));
    answer = await connection.packet(deadlineMs);
  }
  mustBeOk(answer);
  return connection;
}

function tell(outcome: { number?: number; sentMs: number; atMs: number; error?: string }): void {
  process.stdout.write(`${JSON.stringify(outcome)}\n`);
}

/** The pace of the load, not a wait for anything. */
const pause = () => new Promise((resolve) => setTimeout(resolve, Number(interval)));

async function write(): Promise<never> {
  let connection: Connection | undefined;
  for (let number = Number(first); ; ) {
    const sentMs = monotonicMs();
    let sent = false;
    try {
      connection ??= await open(Number(timeout));
      connection.send(0, Buffer.concat([Buffer.from([QUERY]), Buffer.from(`INSERT INTO written VALUES (${number})`)]));
      sent = true;
      mustBeOk(await connection.packet(Number(timeout)));
      tell({ number, sentMs, atMs: monotonicMs() });
    } catch (error) {
      connection?.fail(new Error('given up'));
      connection = undefined;
      const reason = error instanceof Error ? error.message : String(error);
      tell({ ...(sent ? { number } : {}), sentMs, atMs: monotonicMs(), error: reason });
    }
    if (sent) number++;
    await pause();
  }
}

await write();
