import assert from 'node:assert/strict';
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import type { UnitState } from '../system/index.ts';
import { dropInText, removeDropIn, unitsWithDropIn, writeDropIn } from './service-drop-in.ts';
import { isSettled, unitProblem, whyDown, whyNotActive } from './service-state.ts';

const healthy: UnitState = {
  id: 'a.service',
  load: 'loaded',
  loadError: '',
  active: 'active',
  sub: 'running',
  job: false,
  file: 'disabled',
  conditions: true,
  dropIns: [],
  triggeredBy: [],
  wantedBy: [],
  before: [],
  type: 'simple',
  restart: 'no',
  result: 'success',
  mainPid: 1,
  exit: { how: 'unknown', status: 0, pid: 0 },
  remainAfterExit: false,
  statusText: '',
  controlGroup: '',
  slice: 'system.slice',
  startTimeoutMs: 90_000,
  stopTimeoutMs: 90_000,
};

for (const [what, change, expected] of [
  ['a unit that is disabled', {}, undefined],
  ['a static unit', { file: 'static' }, undefined],
  ['a unit that other services want', { wantedBy: ['b.service'] }, undefined],
  ['a missing unit', { load: 'not-found' }, /does not exist on this node/],
  ['a masked unit', { load: 'masked' }, /systemctl unmask a\.service/],
  [
    'a broken unit',
    { load: 'bad-setting', loadError: 'no ExecStart=' },
    /bad-setting: no ExecStart=.*systemd-analyze verify/,
  ],
  ['an alias', { id: 'b.service' }, /another name of b\.service/],
  ['an enabled unit', { file: 'enabled' }, /systemctl disable a\.service/],
  ['a unit enabled until the next boot', { file: 'enabled-runtime' }, /systemctl disable a\.service/],
  ['a unit that a target starts', { wantedBy: ['b.service', 'multi-user.target'] }, /is started by multi-user\.target/],
  ['a oneshot', { type: 'oneshot' }, /RemainAfterExit/],
  ['a oneshot that remains', { type: 'oneshot', remainAfterExit: true }, undefined],
] as const)
  test(`${what} ${expected === undefined ? 'may run' : 'is refused, with what to do'}`, () => {
    const problem = unitProblem('a.service', { ...healthy, ...change });
    if (expected === undefined) assert.equal(problem, undefined);
    else assert.match(problem ?? '', expected);
  });

const exited = (status: number) => ({ exit: { how: 'exited' as const, status, pid: 7 } });
for (const [what, change, reason] of [
  ['an exit code', { result: 'exit-code', ...exited(3) }, /ended with exit code 3/],
  ['a failed ExecStartPre=', { result: 'exit-code' }, /one of its commands failed/],
  ['a signal', { result: 'signal', exit: { how: 'killed', status: 9, pid: 7 } }, /ended by SIGKILL/],
  ['a crash', { result: 'core-dump', exit: { how: 'dumped', status: 11, pid: 7 } }, /crashed with SIGSEGV/],
  ['an end without an error', exited(0), /exit code 0 by itself and without an error.*Type=forking/],
  ['an end of which nothing is known any more', { conditions: false }, /by itself and without an error/],
  ['no PIDFile=', { result: 'protocol', type: 'forking' }, /PIDFile=/],
  ['no READY=1', { result: 'protocol', type: 'notify', ...exited(0) }, /READY=1/],
  ['memory', { result: 'oom-kill' }, /want of memory/],
  ['a word of a later systemd', { result: 'bored', active: 'failed' }, /systemd says failed, result bored/],
] as const)
  test(`it is down because of ${what}`, () => {
    const found = whyDown('a.service', { ...healthy, active: 'inactive', ...change });
    assert.match(found.reason, reason);
    assert.equal(found.severity, 'soft');
  });

test('conditions that do not hold keep it from this node, but only right after a start are they known', () => {
  assert.equal(whyDown('a.service', { ...healthy, conditions: false }, { starting: true }).severity, 'hard');
});

test('what is on its way is no answer yet, and neither is a state with a job to go', () => {
  for (const active of ['activating', 'deactivating', 'maintenance'])
    assert.equal(isSettled({ active, job: false }), false);
  for (const active of ['active', 'reloading', 'inactive', 'failed']) {
    assert.equal(isSettled({ active, job: false }), true);
    assert.equal(isSettled({ active, job: true }), false);
  }
});

test('a start that takes too long says what the type waits for', () => {
  const late = (type: string) => whyNotActive({ ...healthy, active: 'activating', sub: 'start', type }, 1_500);
  assert.match(late('notify'), /within 1\.5 s \(systemd: activating, start\); Type=notify waits for READY=1/);
  assert.match(late('dbus'), /BusName=/);
  assert.match(late('exec'), /\(systemd: activating, start\)$/);
});

test('a drop-in is written when it differs, and those of units that are not named can be removed, nobody else’s', () => {
  const root = mkdtempSync(join(tmpdir(), 'holdfast-drop-in-'));
  try {
    const text = dropInText({ stopMs: 1_000 });
    assert.match(text, /TimeoutStopSec=6000ms\n$/);
    assert.ok(!text.includes('TimeoutStartSec'));
    assert.equal(writeDropIn('a.service', text, root), true);
    assert.equal(writeDropIn('a.service', text, root), false);
    assert.equal(writeDropIn('a.service', dropInText({}), root), true);
    writeDropIn('b.service', text, root);
    writeDropIn('c.service', text, root);
    writeFileSync(join(root, 'c.service.d/override.conf'), '');
    mkdirSync(join(root, 'd.service.d'));
    assert.deepEqual(unitsWithDropIn(root).sort(), ['a.service', 'b.service', 'c.service']);
    for (const unit of ['b.service', 'c.service', 'd.service', 'e.service']) removeDropIn(unit, root);
    assert.deepEqual(unitsWithDropIn(root), ['a.service']);
    assert.ok(existsSync(join(root, 'c.service.d/override.conf')));
    assert.equal(existsSync(join(root, 'b.service.d')), false);
    assert.deepEqual(unitsWithDropIn(join(root, 'none')), []);
  } finally {
    rmSync(root, { recursive: true });
  }
});
