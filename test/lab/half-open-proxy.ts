/**
 * Stands between agents and coordinator as a middlebox that does not understand WebSockets:
 * node half-open-proxy.ts LISTEN_PORT TARGET_HOST TARGET_PORT
 *
 * It begins as a plain relay. SIGUSR2: WebSockets stay open and nothing gets through any more. SIGHUP: they are cut and new ones refused.
 * Everything else passes all the time.
 */
import { connect, createServer, type Socket } from 'node:net';

const [listenPort = '', targetHost = '', targetPort = ''] = process.argv.slice(2);
let mode: 'relay' | 'swallow' | 'refuse' = 'relay';
const upgraded = new Set<Socket>();

process.on('SIGUSR2', () => {
  mode = 'swallow';
});
process.on('SIGHUP', () => {
  mode = 'refuse';
  for (const socket of upgraded) socket.destroy();
});

function relay(client: Socket, head: Buffer): void {
  const isUpgrade = /^upgrade: *websocket/im.test(head.toString('latin1'));
  if (isUpgrade && mode === 'refuse') {
    client.end('HTTP/1.1 501 Not Implemented\r\ncontent-length: 0\r\nconnection: close\r\n\r\n');
    return;
  }
  const server = connect(Number(targetPort), targetHost);
  if (isUpgrade) upgraded.add(client);
  const pass = (to: Socket) => (data: Buffer) => {
    if (!isUpgrade || mode === 'relay') to.write(data);
  };
  const end = () => {
    upgraded.delete(client);
    client.destroy();
    server.destroy();
  };
  pass(server)(head);
  client.on('data', pass(server));
  server.on('data', pass(client));
  for (const socket of [client, server]) socket.on('close', end).on('error', end);
}

createServer((client) => {
  client.on('error', () => client.destroy());
  client.once('data', (head) => relay(client, head));
}).listen(Number(listenPort));
