/** Sends the one request that is on standard input, as JSON, and writes its answer as JSON. Runs inside a host: node api-probe.ts */
import { text } from 'node:stream/consumers';

const { url, method, headers, body } = JSON.parse(await text(process.stdin)) as {
  url: string;
  method: string;
  headers: Record<string, string>;
  body?: string;
};
const response = await fetch(url, { method, headers, ...(body === undefined ? {} : { body }) });
const answer = await response.text();
const json = (response.headers.get('content-type') ?? '').includes('json');
process.stdout.write(
  JSON.stringify({
    status: response.status,
    headers: Object.fromEntries(response.headers),
    body: json ? JSON.parse(answer) : answer,
  }),
);
