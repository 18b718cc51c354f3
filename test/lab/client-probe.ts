/**
 * The client's own process: asks again and again over a fresh TCP connection and writes each outcome as one JSON line.
 * Runs inside the client host: node client-probe.ts KIND ADDRESS PORT INTERVAL_MS TIMEOUT_MS
 */
import { connect } from 'node:net';
import { monotonicMs } from './until.ts';

const [kind = 'http', address = '', port = '80', interval = '20', timeout = '500'] = process.argv.slice(2);
const request = `GET / HTTP/1.1\r\nHost: ${address}\r\nConnection: close\r\n\r\n`;

/** The complete answer as text, or undefined while more has to come. Throws if the answer is an error. */
function httpAnswer(text: string): string | undefined {
  const end = text.indexOf('\r\n\r\n');
  const length = /^content-length: *(\d+)/im.exec(text);
  if (end < 0 || text.length < end + 4 + Number(length?.[1] ?? 0)) return undefined;
  if (!/^HTTP\/1\.1 200 /.test(text)) throw new Error(text.slice(0, text.indexOf('\r\n')));
  return text.slice(end + 4).trim();
}

/** MariaDB speaks first: three bytes length, one byte sequence, then protocol 10 and its version, or 255 and an error. */
function mariadbAnswer(bytes: Buffer): string | undefined {
  if (bytes.length < 6) return undefined;
  if (bytes[4] !== 10) throw new Error(`error packet ${bytes.subarray(7).toString('latin1')}`);
  const end = bytes.indexOf(0, 5);
  return end < 0 ? undefined : bytes.toString('latin1', 5, end);
}

function ask(): void {
  const sent = monotonicMs();
  const socket = connect({ host: address, port: Number(port) });
  let received = Buffer.alloc(0);
  let told = false;
  const tell = (outcome: { answer: string } | { error: string }) => {
    if (told) return;
    told = true;
    clearTimeout(expiry);
    process.stdout.write(`${JSON.stringify({ sent, t: monotonicMs(), ...outcome })}\n`);
    socket.destroy();
  };
  const expiry = setTimeout(() => tell({ error: 'timeout' }), Number(timeout));
  socket.on('error', (error) => tell({ error: error.message }));
  socket.on('end', () => tell({ error: 'closed without an answer' }));
  if (kind === 'http') socket.on('connect', () => socket.write(request));
  socket.on('data', (data) => {
    received = Buffer.concat([received, data]);
    try {
      const answer = kind === 'http' ? httpAnswer(received.toString('latin1')) : mariadbAnswer(received);
      if (answer !== undefined) tell({ answer });
    } catch (error) {
      tell({ error: String(error) });
    }
  });
}

let next = monotonicMs();
function tick(): void {
  ask();
  next = Math.max(next + Number(interval), monotonicMs());
  setTimeout(tick, next - monotonicMs());
}
tick();
