/** What nobody means well by: each is refused in the documented way, nothing of it is kept, and whoever holds a lease does not notice. */
import { deepEqual, equal, match, ok } from 'node:assert/strict';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { request as httpRequest } from 'node:http';
import { connect } from 'node:net';
import { after, afterEach, before, describe, test } from 'node:test';
import { problemSchema } from '../../schemas/api.ts';
import { LEASE_PROFILES, MAX_BODY_BYTES } from '../../schemas/limits.ts';
import {
  type Answer,
  type Coordinator,
  documentOf,
  readAnswer,
  startCoordinator,
} from '../../test/coordinator/harness.ts';
import type { TestNode, TestSocket } from '../../test/coordinator/node.ts';
import { accessOf, isRecorded, ROUTE_KEYS, splitKey } from './access.ts';

const MIB = 1 << 20;
const HUGE_BYTES = 100 * MIB;
const CHUNK_BYTES = 64 * 1024;
const shop = '/v1/clusters/shop';
const good = documentOf('shop', ['alice']);
const json = { 'content-type': 'application/json' };
const yaml = { 'content-type': 'application/yaml', 'if-match': '"rev-1"' };

let coordinator: Coordinator;
let alice: TestNode;
let socket: TestSocket;
let admin: string;
/** Of the renewals that go on meanwhile: how long each took. */
const renewalsMs: number[] = [];
let renewing = true;
let renewals: Promise<void>;

before(async () => {
  coordinator = await startCoordinator();
  for (const name of ['shop', 'other']) {
    await coordinator.createCluster(name);
    await coordinator.apply(name, documentOf(name, ['alice']));
  }
  admin = (await coordinator.admin('POST', `${shop}/tokens`, { name: 'carla', role: 'admin' })).body.secret;
  alice = await coordinator.join('shop', 'alice');
  alice.revision = 1;
  socket = await alice.connect();
  const claims = [{ group: 'web', renewal: null, seenForMs: 0 }];
  equal((await socket.ask(alice.report({ claims }))).grants[0]?.epoch, 1);
  renewals = renew();
});
after(async () => {
  renewing = false;
  await renewals;
  await coordinator.close();
});

async function renew(): Promise<void> {
  const leases = [{ group: 'web', epoch: 1, voters: 1 }];
  while (renewing) {
    const startedMs = performance.now();
    const { leases: answered } = await socket.ask(alice.report({ leases }));
    equal(answered[0]?.verdict, 'renewed');
    renewalsMs.push(performance.now() - startedMs);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

afterEach(async () => {
  const { body } = await coordinator.admin('GET', `${shop}/config`);
  deepEqual([body.revision, body.document], [1, good], 'the configuration in force is the one from before');
  deepEqual((await coordinator.admin('GET', '/v1/clusters')).body.clusters.length, 2, 'there are no other clusters');
  const slowest = Math.max(...renewalsMs.splice(0));
  ok(
    slowest < LEASE_PROFILES.default.leaseMs - LEASE_PROFILES.default.stopMs,
    `a renewal took ${Math.round(slowest)} ms`,
  );
});

function isProblem({ status, body }: Answer, expected: number, code: string): void {
  const problem = problemSchema.parse(body);
  deepEqual([status, problem.code], [expected, code], problem.detail);
}

/** The processes of the coordinator, which are children of this one. */
function workerds(): string[] {
  return readdirSync('/proc').filter((pid) => {
    try {
      const stat = /^\d+ \((.*)\) \S (\d+)/.exec(readFileSync(`/proc/${pid}/stat`, 'utf8'));
      return stat?.[1] === 'workerd' && Number(stat[2]) === process.pid;
    } catch {
      return false; // no process, or none any more
    }
  });
}

const sumOf = (field: string) =>
  workerds().reduce((sum, pid) => {
    const found = new RegExp(`^${field}:\\s+(\\d+) kB`, 'm').exec(readFileSync(`/proc/${pid}/status`, 'utf8'));
    return sum + Number(found?.[1] ?? 0) * 1_024;
  }, 0);

/** Sends a body for as long as it is taken and not answered. A connection of its own: whoever is answered early may be hung up on. */
async function pour(method: string, path: string, headers: Record<string, string>, length?: number) {
  const { hostname, port } = new URL(coordinator.origin);
  const socket = connect(Number(port), hostname);
  let text = '';
  let over = false;
  const ended = new Promise((resolve) => socket.once('close', resolve));
  socket.setEncoding('utf8').on('data', (part: string) => {
    text += part;
    over = true;
  });
  socket.on('error', () => {
    over = true;
  });
  const lines = Object.entries({ host: `${hostname}:${port}`, connection: 'close', ...headers });
  const framing = length === undefined ? 'transfer-encoding: chunked' : `content-length: ${length}`;
  socket.write(
    `${method} ${path} HTTP/1.1\r\n${lines.map(([name, value]) => `${name}: ${value}\r\n`).join('')}${framing}\r\n\r\n`,
  );
  const bytes = Buffer.alloc(CHUNK_BYTES, 0x61);
  const chunk =
    length === undefined
      ? Buffer.concat([Buffer.from(`${CHUNK_BYTES.toString(16)}\r\n`), bytes, Buffer.from('\r\n')])
      : bytes;
  let sent = 0;
  while (sent < HUGE_BYTES && !over) {
    sent += CHUNK_BYTES;
    await new Promise<void>((resolve) => socket.write(chunk, () => resolve()));
  }
  if (!over && length === undefined) socket.write('0\r\n\r\n');
  await Promise.race([ended, new Promise((resolve) => setTimeout(resolve, 10_000).unref())]);
  socket.destroy();
  const [head = '', ...rest] = text.split('\r\n\r\n');
  const body = /\{.*\}/s.exec(rest.join(''))?.[0] ?? '{}';
  const status = Number(/^HTTP\/1\.1 (\d+)/.exec(head)?.[1] ?? 0);
  return { sent, answer: { status, headers: new Headers(), text: body, body: JSON.parse(body) } };
}

/** The most memory that the coordinator had meanwhile, beyond what it had before. */
async function grownBy(act: () => Promise<void>): Promise<number> {
  for (const pid of workerds()) writeFileSync(`/proc/${pid}/clear_refs`, '5');
  const before_ = sumOf('VmRSS');
  await act();
  ok(workerds().length > 0);
  return sumOf('VmHWM') - before_;
}

describe('a body of 100 MB', () => {
  const bearer = () => ({ authorization: `Bearer ${admin}` });
  const places: readonly (readonly [
    what: string,
    method: string,
    path: string,
    headers: () => Record<string, string>,
  ])[] = [
    ['a configuration', 'PUT', `${shop}/config`, () => ({ ...bearer(), ...yaml })],
    ['a plan', 'POST', `${shop}/config/plan`, () => ({ ...bearer(), ...yaml })],
    ['an action', 'POST', `${shop}/groups/web/stop`, () => ({ ...bearer(), ...json })],
    [
      'an action with a key',
      'POST',
      `${shop}/groups/web/stop`,
      () => ({ ...bearer(), ...json, 'idempotency-key': 'k' }),
    ],
    ['a question for a nonce, by a stranger', 'POST', `${shop}/agent/nonce`, () => json],
    ['an enrolment, by a stranger', 'POST', `${shop}/agent/enrol`, () => json],
    ['a report, by a stranger', 'POST', `${shop}/agent/report`, () => json],
  ];
  for (const [what, method, path, headers] of places)
    test(`as ${what} is refused before it was sent, and not held in memory`, async (t) => {
      const grown = await grownBy(async () => {
        const { sent, answer } = await pour(method, path, headers());
        // who sends on after the answer is hung up on, and may not get to read it
        if (Object.keys(answer.body).length > 0) isProblem(answer, 413, 'body-too-large');
        t.diagnostic(`${(sent / MIB).toFixed(1)} MiB sent`);
        ok(sent < HUGE_BYTES / 4, `${sent} bytes were taken`);
      });
      t.diagnostic(`${(grown / MIB).toFixed(1)} MiB of memory more at most`);
      ok(grown < HUGE_BYTES / 3, `${grown} bytes of memory`);
    });

  test('that is not read, by its length or for want of a token, is answered all the same', async () => {
    const told = await pour('PUT', `${shop}/config`, { authorization: `Bearer ${admin}`, ...yaml }, HUGE_BYTES);
    isProblem(told.answer, 413, 'body-too-large');
    const { answer } = await pour('PUT', `${shop}/config`, yaml);
    isProblem(answer, 401, 'unauthorized');
  });
});

/** Nine levels of nine aliases each: 387 million values. */
const BOMB = `cluster: shop\nnodes: [alice]\na0: &a0 [x]\n${Array.from({ length: 9 }, (_, n) => `a${n + 1}: &a${n + 1} [${Array(9).fill(`*a${n}`).join(', ')}]`).join('\n')}\n`;
const resources = (count: number) => Array.from({ length: count }, (_, n) => `      - service: s${n}\n`).join('');

const documents: readonly (readonly [what: string, document: string, says: RegExp])[] = [
  ['a key that stands twice', `${good}cluster: shop\n`, /stands twice/],
  [
    'a key of a group that stands twice',
    good.replace('    resources:', '    on: [alice]\n    on: [alice]\n    resources:'),
    /stands twice/,
  ],
  ['JSON with a key that stands twice', '{"cluster":"shop","nodes":["alice"],"cluster":"shop"}', /stands twice/],
  ['a bomb of anchors', BOMB, /aliases stand for more than/],
  ['an anchor that holds itself', 'cluster: shop\nnodes: &a [*a]\n', /stands inside what it names/],
  ['nesting without an end', `cluster: ${'['.repeat(20_000)}`, /nested too deeply|not YAML/],
  ['nesting of mappings without an end', `cluster: ${'{a: '.repeat(20_000)}`, /nested too deeply|not YAML/],
  ['more nesting than any document has', `cluster: ${'['.repeat(100_000)}`, /at most 25000 are read/],
  [
    '10,000 resources in one group',
    `cluster: shop\nnodes: [alice]\ngroups:\n  web:\n    resources:\n${resources(10_000)}`,
    /a list of 10000 entries/,
  ],
  [
    '10,000 resources in its groups',
    `cluster: shop\nnodes: [alice]\ngroups:\n${Array.from({ length: 200 }, (_, n) => `  g${n}:\n    resources:\n${resources(50)}`).join('')}`,
    /at most 32 resources/,
  ],
  [
    '20,000 keys',
    `${good}${Array.from({ length: 20_000 }, (_, n) => `k${n}: 1\n`).join('')}`,
    /a mapping of 20003 entries; none has more than 250/,
  ],
  [
    'an address 6,000 times over',
    `cluster: shop\nnodes: [alice]\ngroups:\n  web:\n    resources:\n${'      - vip: 192.0.2.10/24\n'.repeat(6_000)}`,
    /a list of 6000 entries/,
  ],
  [
    '10,000 groups',
    `cluster: shop\nnodes: [alice]\ngroups:\n${Array.from({ length: 10_000 }, (_, n) => `  g${n}: {}`).join('\n')}`,
    /./,
  ],
];

describe('a document with', () => {
  for (const [what, document, says] of documents)
    test(`${what} is refused with what is wrong, at once`, async () => {
      ok(Buffer.byteLength(document) < MAX_BODY_BYTES, `${Buffer.byteLength(document)} bytes`);
      for (const [method, path] of [
        ['PUT', `${shop}/config`],
        ['POST', `${shop}/config/plan`],
      ] as const) {
        const startedMs = performance.now();
        const answer = await coordinator.admin(method, path, document, yaml);
        isProblem(answer, 422, 'invalid-configuration');
        match(JSON.stringify(answer.body.errors), says);
        ok(performance.now() - startedMs < 3_000, `${performance.now() - startedMs} ms`);
        ok(JSON.stringify(answer.body).length < 128 * 1024, 'the answer is short');
      }
    });

  test('bytes that are no UTF-8 is refused as such', async () => {
    for (const bytes of [
      [0xff, 0xfe],
      [0xc3, 0x28],
      [0xed, 0xa0, 0x80],
      [0xf0, 0x80, 0x80, 0xaf],
    ]) {
      const body = Buffer.concat([Buffer.from(`${good}# `), Buffer.from(bytes)]);
      const response = await fetch(`${coordinator.origin}${shop}/config`, {
        method: 'PUT',
        headers: { authorization: `Bearer ${admin}`, ...yaml },
        body,
      });
      isProblem(await readAnswer(response), 400, 'malformed-body');
    }
  });
});

describe('JSON', () => {
  const bodies: readonly (readonly [what: string, body: string])[] = [
    ['in which a key stands twice', '{"name":"third","name":"fourth"}'],
    ['in which a key stands twice, written in two ways', '{"name":"third","n\\u0061me":"fourth"}'],
    ['in which a key stands twice further down', '{"name":"third","x":[{"a":1,"b":{},"a":2}]}'],
    ['nested without an end', '['.repeat(100_000)],
    ['nested deeply', `{"name":${'['.repeat(50_000)}${']'.repeat(50_000)}}`],
  ];
  for (const [what, body] of bodies)
    test(`${what} is refused`, async () => {
      const answer = await coordinator.admin('POST', '/v1/clusters', body, json);
      ok(answer.status >= 400 && answer.status < 500, JSON.stringify(answer.body));
      problemSchema.parse(answer.body);
    });

  test('with a key twice is told which', async () => {
    const answer = await coordinator.admin('POST', '/v1/clusters', '{"name":"third","name":"fourth"}', json);
    isProblem(answer, 400, 'malformed-body');
    match(answer.body.detail, /“name” stands twice/);
  });

  test('may have the same key in two places, and keys in its texts', async () => {
    const body = '{"reason":"\\"reason\\": {\\"reason\\":","x":[{"a":1},{"a":1}]}';
    const answer = await coordinator.admin('POST', `${shop}/groups/web/pause`, body, json);
    isProblem(answer, 422, 'invalid-value');
  });
});

test('a flood of headers ends its own request, and no other', async () => {
  const ask = (headers: Record<string, string>) =>
    new Promise<number>((resolve) => {
      const asking = httpRequest(`${coordinator.origin}${shop}/status`, {
        headers: { authorization: `Bearer ${admin}`, ...headers },
        agent: false,
      });
      asking.on('response', (answer) => {
        answer.resume();
        resolve(answer.statusCode ?? 0);
      });
      asking.on('error', () => resolve(0));
      asking.end();
    });
  const many = Object.fromEntries(Array.from({ length: 5_000 }, (_, n) => [`x-flood-${n}`, 'y'.repeat(20)]));
  for (const headers of [many, { 'x-long': 'y'.repeat(2 * MIB) }]) {
    const status = await ask(headers);
    ok(status === 0 || (status >= 400 && status < 500) || status === 200, `${status}`);
  }
  equal(await ask({}), 200);
});

test('a token of another cluster is good for no write, and neither is one for looking', async () => {
  const theirs = (await coordinator.admin('POST', '/v1/clusters/other/tokens', { name: 'stranger', role: 'admin' }))
    .body.secret;
  const viewer = (await coordinator.admin('POST', `${shop}/tokens`, { name: 'looker', role: 'viewer' })).body.secret;
  const writes = ROUTE_KEYS.filter((key) => isRecorded(key) && accessOf(key).who !== 'viewer');
  ok(writes.length > 20, writes.join(', '));
  for (const key of writes) {
    const { method, path } = splitKey(key);
    const real = path
      .replace(':cluster', 'shop')
      .replace(':group', 'web')
      .replace(':node', 'alice')
      .replace(':token', 'carla')
      .replace(/:\w+/, 'nothing');
    for (const [token, status, code] of [
      [theirs, 401, 'unauthorized'],
      [viewer, 403, 'forbidden'],
    ] as const)
      isProblem(await coordinator.admin(method, real, undefined, { authorization: `Bearer ${token}` }), status, code);
  }
  const state = (await coordinator.admin('GET', `${shop}/status`)).body;
  deepEqual([state.groups.web.paused ?? false, state.nodes.alice.state], [false, 'ready']);
});
