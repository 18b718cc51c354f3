/**
 * Sends recorded datagrams again, all of them over and over, to every address given, until it is killed:
 * node replay-probe.ts FILE PORT ADDRESS…   The file has one datagram a line, in hexadecimal digits.
 */
import { createSocket } from 'node:dgram';
import { readFileSync } from 'node:fs';

const [file = '', port = '', ...addresses] = process.argv.slice(2);
const datagrams = readFileSync(file, 'utf8')
  .split('\n')
  .filter((line) => line !== '')
  .map((line) => Buffer.from(line, 'hex'));
/** Few enough for a host to keep up with, and all of them well within a lease. */
const EVERY_MS = 5;

const socket = createSocket('udp4');
let next = 0;
setInterval(() => {
  const datagram = datagrams[next++ % datagrams.length];
  if (datagram !== undefined) for (const address of addresses) socket.send(datagram, Number(port), address);
}, EVERY_MS);
process.stdout.write(`${datagrams.length}\n`);
