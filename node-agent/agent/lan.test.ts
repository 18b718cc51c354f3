import { equal, match } from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { until } from '../system/testing.ts';
import { Lan } from './lan.ts';
import { loadPeerKey } from './peer-key.ts';
import { StateFile } from './state-file.ts';

test('a port that is taken is tried again, said once; until it is free the node is found nowhere', async (t) => {
  const stateDir = mkdtempSync(join(tmpdir(), 'hf-lan-'));
  t.after(() => rmSync(stateDir, { recursive: true, force: true }));
  const taker = createSocket('udp4').bind(0, '127.0.0.1');
  await once(taker, 'listening');
  const { port } = taker.address();
  const lines: string[] = [];
  const log = { info: (line: string) => lines.push(line), warn: (line: string) => lines.push(line) };
  const lan = new Lan({
    ...{ node: 'alice', cluster: 'lab', incarnation: 'alice-1' },
    key: await loadPeerKey(stateDir),
    listen: { address: '127.0.0.1', port },
    files: new StateFile(stateDir),
    log,
    virtualAddresses: () => new Set(),
    onAsk: () => undefined,
    onAnswer: () => undefined,
    listenAgainMs: 20,
  });
  t.after(() => lan.close());
  await lan.start();
  equal(lan.endpoint(), null);
  match(lines.join(), /no promises: .*another process has it.*it is tried again/);
  await new Promise((resolve) => setTimeout(resolve, 100)); // five tries: what must not happen has no condition to wait for
  equal(lines.length, 1, 'the same is not said again');
  taker.close();
  const endpoint = await until('it listens', () => lan.endpoint() ?? undefined);
  equal(endpoint.port, port);
  match(lines.at(-1) ?? '', /listens for the other nodes now/);
});
