/**
 * A webhook receiver: node webhook-receiver.ts PORT ADDRESS. Prints one line of JSON for each call. It takes everything until SIGHUP, then answers
 * 503, until SIGUSR2. Below /elsewhere it redirects to /.
 */
import { createServer } from 'node:http';

export interface Call {
  readonly atMs: number;
  readonly path: string;
  readonly taken: boolean;
  readonly id: string;
  // biome-ignore lint/suspicious/noExplicitAny: tests read fields of many kinds
  readonly data: any;
}

if (import.meta.main) {
  let taken = true;
  process.on('SIGHUP', () => {
    taken = false;
  });
  process.on('SIGUSR2', () => {
    taken = true;
  });
  createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const path = request.url ?? '';
      const elsewhere = path === '/elsewhere';
      const body = Buffer.concat(chunks).toString('utf8');
      const call: Call = {
        atMs: Date.now(),
        path,
        taken: taken && !elsewhere,
        id: String(request.headers['webhook-id']),
        data: body === '' ? null : JSON.parse(body).data,
      };
      process.stdout.write(`${JSON.stringify(call)}\n`);
      if (elsewhere) response.writeHead(302, { location: '/' }).end();
      else response.writeHead(taken ? 204 : 503).end();
    });
  }).listen(Number(process.argv[2]), process.argv[3], () => process.stdout.write('"listens"\n'));
}
