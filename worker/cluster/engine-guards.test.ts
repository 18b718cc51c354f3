/**
 * Guards of the coordinator's shell, without workerd: what may leave only behind its write, and who may speak as a node. `npm run mutants` takes
 * each of them out.
 */
import { deepEqual, equal, ok, throws } from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { after, describe, mock, test } from 'node:test';
import { DEFAULT_POLICY, NO_RULES } from '../../schemas/config.ts';
import { LEASE_PROFILES } from '../../schemas/limits.ts';
import { publicHalf, requestText, sha256Hex, signText } from '../../schemas/session.ts';
import type { Reply, Report } from '../../schemas/wire.ts';
import { type ClusterState, type CoordinatorEvent, emptyState } from '../decide/index.ts';
import { now, shiftClock } from './clock.ts';
import { Nonces } from './nonces.ts';

/** These files name types of workerd, which the type check of this one does not know: what is used of them is written down here. */
const load = (file: string) => import(new URL(file, import.meta.url).href);

interface EngineUsed {
  readonly state: ClusterState;
  perform(event: CoordinatorEvent): unknown;
  report(report: Report, answer: (reply: Reply) => void): void;
}
interface Sender {
  readonly node: string;
  readonly incarnation: string;
}
interface Signed extends Sender {
  readonly method: string;
  readonly path: string;
  readonly body: Uint8Array;
  readonly nonce: string;
  readonly clusterKey: string;
  readonly signature: string;
}
interface AuthenticationUsed {
  nextNonce(): string;
  verify(request: Signed): { ok: boolean; problem?: { code: string } };
}

const { Engine } = (await load('./engine.ts')) as {
  Engine: new (around: object, stored: object, outcome: object, alarmArmed: boolean) => EngineUsed;
};
const { Authentication } = (await load('./authentication.ts')) as {
  Authentication: new (instance: string, state: () => ClusterState, keys: object) => AuthenticationUsed;
};
const { readReport } = (await load('./reports.ts')) as {
  readReport: (text: string, sender: Sender) => { readonly kind: string };
};

/** An engine has timers of its own, which would keep this process for as long as a node may be silent. */
const timers: NodeJS.Timeout[] = [];
const { setTimeout: begin } = globalThis;
mock.method(globalThis, 'setTimeout', (act: () => void, ms: number) => {
  const timer = begin(act, ms);
  timers.push(timer);
  return timer;
});
after(() => {
  for (const timer of timers) clearTimeout(timer);
});

const address = { type: 'vip', id: 'ip', address: '192.0.2.10/24', times: {}, policy: DEFAULT_POLICY } as const;

/** A cluster of alice with the group `web`, and what its engine does, in order. */
function desk(publicKey = 'key of alice') {
  const log: string[] = [];
  const disk = { full: false };
  const state = emptyState('shop', 'h1', 'i1', now());
  const around = {
    storage: {
      transaction: (write: () => void) => {
        if (disk.full) throw new Error('disk full');
        write();
      },
      save: ({ tick, effects }: { tick: boolean; effects: { kind: string; event?: { kind: string } }[] }) => {
        log.push(tick ? 'written, a tick' : 'written');
        log.push(...effects.flatMap(({ event }) => (event === undefined ? [] : [event.kind])));
      },
    },
    nudge: () => undefined,
    tell: () => undefined,
    stored: () => undefined,
    setAlarm: () => undefined,
    abandon: () => log.push('abandoned'),
  };
  const engine = new Engine(around, state.durable, { state, effects: [] }, false);
  const groups = { web: { name: 'web', on: ['alice'], resources: [address], ...NO_RULES } };
  const config = { cluster: 'shop', nodes: ['alice'], labels: {}, timing: LEASE_PROFILES.default, groups };
  engine.perform({ type: 'enrol', node: 'alice', publicKey });
  engine.perform({ type: 'apply', config });
  let reports = 0;
  const answers: Reply[] = [];
  const hears = (changes: Partial<Report>) => {
    const { report } = reportOf(`r${++reports}`, changes);
    engine.report(report, (reply) => {
      log.push('answered');
      answers.push(reply);
    });
  };
  log.length = 0;
  return { engine, log, disk, hears, answers };
}

function reportOf(id: string, changes: Partial<Report> = {}): { readonly report: Report } {
  return {
    report: {
      ...{ type: 'report', version: [1, 0], id, node: 'alice', incarnation: 'alice-1', agentVersion: '0.1.0' },
      ...{ history: 'h1', revision: 1, quarantineMs: 0, leaseMs: LEASE_PROFILES.default.leaseMs },
      ...{ leases: [], claims: [], releases: [], epochs: {} },
      ...changes,
    },
  };
}

const claim = { claims: [{ group: 'web', renewal: null, seenForMs: 0 }] };
const renewal = { leases: [{ group: 'web', epoch: 1, voters: 1 }] };
/** Longer than a renewal is gathered. */
const gathered = () => new Promise((resolve) => setTimeout(resolve, 100));

describe('an answer', () => {
  test('that grants leaves after the write that it rests on', () => {
    const { log, hears, answers } = desk();
    hears(claim);
    equal(answers[0]?.grants[0]?.epoch, 1);
    ok(log.indexOf('answered') > log.findIndex((line) => line.startsWith('written')), log.join());
  });

  test('does not leave when the write failed, and the instance ends: what is on disk is not known', () => {
    const { log, disk, hears } = desk();
    disk.full = true;
    throws(() => hears(claim), /disk full/);
    deepEqual(log, ['abandoned']);
  });

  test('to a renewal that changes nothing durable rests on a write all the same', async () => {
    const { log, hears } = desk();
    hears(claim);
    hears(renewal);
    await gathered();
    log.length = 0;
    hears(renewal);
    await gathered();
    deepEqual(log, ['written, a tick', 'answered']);
  });
});

test('a tick that comes long after its time is told to the decisions before anything else', () => {
  const { log, hears } = desk();
  hears(claim);
  log.length = 0;
  shiftClock(60_000);
  try {
    hears(renewal);
  } finally {
    shiftClock(0);
  }
  ok(log.includes('coordinator.clock-stepped'), log.join());
});

describe('a nonce', () => {
  const nonces = new Nonces('i1');
  const [first, second] = [nonces.issue(), nonces.issue()];

  test('is good once, also when a later one overtook it', () => {
    equal(nonces.use('alice', second), true);
    equal(nonces.use('alice', second), false);
    equal(nonces.use('alice', first), true);
    equal(nonces.use('alice', first), false);
    equal(nonces.use('bob', first), true, 'for another node it is as it was');
  });

  test('is stale below those that are remembered', () => {
    const many = new Nonces('i3');
    const [late = '', ...others] = Array.from({ length: 40 }, () => many.issue());
    for (const nonce of others) equal(many.use('alice', nonce), true);
    equal(many.use('alice', late), false);
    for (const nonce of others) equal(many.use('alice', nonce), false);
  });

  test('is good with the instance that gave it out, and not before it did', () => {
    equal(new Nonces('i2').isFresh('alice', first), false);
    equal(nonces.isFresh('carol', 'i1.9'), false);
    const other = new Nonces('i2');
    other.issue();
    equal(other.isFresh('alice', first), false);
  });
});

describe('a request of an agent', () => {
  const { privateKey } = generateKeyPairSync('ed25519');
  const { engine } = desk(publicHalf(privateKey));
  const keys = { fingerprint: 'k1' };
  const authentication = new Authentication('i1', () => engine.state, keys);
  const request = (changes: Partial<Signed> = {}): Signed => {
    const { clusterKey = 'k1' } = changes;
    const signed = { method: 'POST', path: '/v1/report', node: 'alice', incarnation: 'alice-1', clusterKey };
    const nonce = authentication.nextNonce();
    const signature = signText(privateKey, requestText({ ...signed, nonce, bodySha256: sha256Hex('') }));
    return { ...signed, nonce, body: new Uint8Array(), signature, ...changes };
  };

  test('is heard by its signature, and refused with any part of it changed', () => {
    equal(authentication.verify(request()).ok, true);
    for (const changes of [
      { path: '/v1/wait' },
      { incarnation: 'alice-2' },
      { clusterKey: 'k2' },
      { body: Buffer.from('{}') },
      { nonce: authentication.nextNonce() },
    ])
      equal(authentication.verify({ ...request(), ...changes }).problem?.code, 'signature-invalid');
  });

  test('is refused when it is said again', () => {
    const once = request();
    deepEqual(
      [1, 2].map(() => authentication.verify(once).problem?.code ?? 'heard'),
      ['heard', 'nonce-stale'],
    );
  });

  test('is refused when the node trusts a key that the cluster does not have', () => {
    equal(authentication.verify(request({ clusterKey: 'k2' })).problem?.code, 'key-unknown');
  });

  test('reports as the node and the incarnation that signed it', () => {
    const text = JSON.stringify(reportOf('r1').report);
    equal(readReport(text, { node: 'alice', incarnation: 'alice-1' }).kind, 'report');
    equal(readReport(text, { node: 'bob', incarnation: 'alice-1' }).kind, 'malformed');
    equal(readReport(text, { node: 'alice', incarnation: 'alice-2' }).kind, 'malformed');
  });
});
