/** Another program that has a UDP port, on all addresses, until it is killed: node port-taker.ts PORT. Says so when it has it. */
import { createSocket } from 'node:dgram';

const socket = createSocket('udp6');
socket.bind({ address: '::', port: Number(process.argv[2]), exclusive: true }, () => process.stdout.write('taken\n'));
