import { equal, rejects } from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type IncomingMessage, request, type ServerResponse } from 'node:http';
import { test } from 'node:test';
import { readAnswer } from './http-answer.ts';

/** The beginning of an answer, and the server's side of it, which goes on as the test wishes. */
async function answered(): Promise<{ incoming: IncomingMessage; response: ServerResponse; [Symbol.dispose](): void }> {
  const server = createServer();
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const address = server.address();
  if (typeof address !== 'object' || address === null) throw new Error('the server has no port');
  const outgoing = request({ host: '127.0.0.1', port: address.port, agent: false });
  // it ends with the answer, which says so itself
  outgoing.on('error', () => undefined);
  const asked = once(server, 'request');
  outgoing.end();
  const [, response] = (await asked) as [IncomingMessage, ServerResponse];
  response.flushHeaders();
  const [incoming] = (await once(outgoing, 'response')) as [IncomingMessage];
  const close = () => {
    server.closeAllConnections();
    server.close();
  };
  return { incoming, response, [Symbol.dispose]: close };
}

test('an answer that comes in several pieces is read to its end, up to the limit', async () => {
  using exchange = await answered();
  const read = readAnswer(exchange.incoming, 10);
  exchange.response.write('12345');
  await once(exchange.incoming, 'data');
  exchange.response.end('67890');
  equal((await read).toString(), '1234567890');
});

test('an answer without a body is empty', async () => {
  using exchange = await answered();
  exchange.response.end();
  equal((await readAnswer(exchange.incoming, 10)).length, 0);
});

test('an answer that is longer than the limit is not waited for, and costs its connection', async () => {
  using exchange = await answered();
  const closed = once(exchange.response, 'close');
  exchange.response.write('12345678901');
  await rejects(readAnswer(exchange.incoming, 10), /^Error: the answer is too long$/);
  await closed;
});

test('what was too long is said in the words of the one who asked', async () => {
  using exchange = await answered();
  exchange.response.end('12');
  await rejects(readAnswer(exchange.incoming, 1, 'the answer to the upgrade'), /the answer to the upgrade is too long/);
});

test('an answer that is cut off is not taken for a whole one', async () => {
  using exchange = await answered();
  const read = readAnswer(exchange.incoming, 10);
  exchange.response.write('12345');
  await once(exchange.incoming, 'data');
  exchange.response.destroy();
  await rejects(read, { code: 'ECONNRESET' });
});
