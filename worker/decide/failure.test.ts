import { deepEqual, equal, match, ok } from 'node:assert/strict';
import { describe, test } from 'node:test';
import {
  FAILURE_WINDOW_MS,
  LEASE_PROFILES,
  RETRY_FIRST_MS,
  RETRY_FORGET_MS,
  RETRY_LAST_MS,
} from '../../schemas/limits.ts';
import type { Release } from '../../schemas/wire.ts';
import { nextTick } from './decide.ts';
import { statusOf, whyOf } from './explain.ts';
import { retryMs } from './failure.ts';
import { config, Desk } from './testing.ts';

const { renewMs } = LEASE_PROFILES.default;
const ALL = ['alice', 'bob', 'carol'];
const soft = { resource: 'ip', severity: 'soft', reason: 'no carrier' } as const;

/** This node takes the group and gives it up. */
function gives(desk: Desk, node: string, failure: Partial<Release['failure']> = {}): void {
  const epoch = desk.runsOn(node);
  desk.hears(node, { releases: [{ group: 'db', epoch, failure: { ...soft, ...failure } }] });
}

/** Time passes as it does: every node reports, the owner renews, ticks come when they are due. */
function lasts(desk: Desk, ms: number, owner?: { node: string; epoch: number }): string[] {
  const kinds: string[] = [];
  const until = desk.now + ms;
  while (desk.now < until) {
    desk.passes(Math.min(renewMs, until - desk.now));
    for (const node of ALL) {
      if (node === owner?.node) desk.renews(node, owner.epoch);
      else desk.hears(node);
      kinds.push(...desk.kinds);
    }
    desk.does({ type: 'tick' });
    kinds.push(...desk.kinds);
  }
  return kinds;
}

const alone = () => new Desk(config({ db: ['alice'] }));
const away = (desk: Desk, node: string) =>
  statusOf(desk.state, desk.now)
    .groups.db?.candidates.find((candidate) => candidate.node === node)
    ?.reasons.find((reason) => reason.rule === 'failed-here');
const shown = (desk: Desk) => statusOf(desk.state, desk.now).groups.db;

describe('a node that gave a group up', () => {
  test('waits for twice as long every time, up to the longest wait', () => {
    deepEqual([1, 2, 3, 6, 7, 100].map(retryMs), [
      RETRY_FIRST_MS,
      2 * RETRY_FIRST_MS,
      4 * RETRY_FIRST_MS,
      32 * RETRY_FIRST_MS,
      RETRY_LAST_MS,
      RETRY_LAST_MS,
    ]);
    const desk = alone();
    for (const count of [1, 2, 3]) {
      gives(desk, 'alice');
      equal(desk.group().failures.alice?.count, count);
      equal(desk.group().failures.alice?.until, desk.now + retryMs(count));
      lasts(desk, retryMs(count));
    }
  });

  test('is no candidate until its wait is over, and is one from then on without anybody’s doing', () => {
    const desk = new Desk();
    gives(desk, 'alice');
    lasts(desk, RETRY_FIRST_MS - 1);
    equal(away(desk, 'alice')?.until, new Date(desk.now + 1).toISOString());
    const before = desk.state.durable.groups.db;
    desk.passes(1);
    equal(away(desk, 'alice'), undefined);
    desk.does({ type: 'tick' });
    equal(desk.group().failures, before?.failures, 'the end of a wait writes nothing');
  });

  test('does not wait for what another node failed at, unless nobody can ever run it', () => {
    const desk = new Desk();
    gives(desk, 'alice');
    deepEqual(Object.keys(desk.group().failures), ['alice']);
    gives(desk, 'bob', { severity: 'fatal' });
    deepEqual(
      Object.entries(desk.group().failures).map(([node, { count, severity }]) => [node, count, severity]),
      [
        ['alice', 2, 'fatal'],
        ['bob', 1, 'fatal'],
        ['carol', 1, 'fatal'],
      ],
    );
  });

  test('keeps its count while it runs the group for less than the window, and starts at one after it', () => {
    for (const [ranMs, count] of [
      [FAILURE_WINDOW_MS - 30_000, 2],
      [FAILURE_WINDOW_MS, 1],
    ] as const) {
      const desk = alone();
      gives(desk, 'alice');
      lasts(desk, RETRY_FIRST_MS);
      const epoch = desk.runsOn('alice');
      lasts(desk, ranMs, { node: 'alice', epoch });
      equal(Object.keys(desk.group().failures).length, count - 1, `after ${ranMs} ms`);
      desk.hears('alice', { releases: [{ group: 'db', epoch, failure: soft }] });
      equal(desk.group().failures.alice?.count, count, `after ${ranMs} ms`);
    }
  });

  test('is forgiven an hour after its wait, if it never had the group since', () => {
    const desk = new Desk();
    gives(desk, 'alice');
    desk.passes(RETRY_FIRST_MS + RETRY_FORGET_MS - 1, ALL);
    desk.does({ type: 'tick' });
    equal(desk.group().failures.alice?.count, 1);
    desk.passes(1);
    desk.does({ type: 'tick' });
    deepEqual(desk.group().failures, {});
  });

  test('waits no longer when the clock steps back, in an instance or between two', () => {
    for (const restarts of [false, true]) {
      const desk = new Desk();
      gives(desk, 'alice');
      desk.now -= 24 * 3_600_000;
      if (restarts) desk.restarts();
      for (const node of ALL) desk.hears(node);
      equal(desk.group().failures.alice?.until, desk.now + RETRY_FIRST_MS);
      lasts(desk, RETRY_FIRST_MS);
      equal(away(desk, 'alice'), undefined);
    }
  });
});

describe('a group that failed on every node', () => {
  test('says when it is tried again, and is', () => {
    const desk = alone();
    gives(desk, 'alice');
    equal(shown(desk)?.state, 'failed');
    match(shown(desk)?.reason ?? '', new RegExp(`tried again ${new Date(desk.now + RETRY_FIRST_MS).toISOString()}`));
    ok((nextTick(desk.state, desk.now) ?? Number.POSITIVE_INFINITY) <= desk.now + RETRY_FIRST_MS);
    const kinds = lasts(desk, RETRY_FIRST_MS);
    deepEqual(
      kinds.filter((kind) => kind === 'group.retried'),
      ['group.retried'],
    );
    equal(shown(desk)?.state, 'starting');
    equal(desk.claims('alice').grants.length, 1);
  });

  test('is tried by the node whose wait ends first, which is told at once', () => {
    const desk = new Desk();
    for (const node of ALL) {
      gives(desk, node);
      lasts(desk, 2 * renewMs);
    }
    equal(shown(desk)?.state, 'failed');
    desk.passes(RETRY_FIRST_MS - 6 * renewMs, ALL);
    desk.does({ type: 'tick' });
    const [event] = desk.events;
    deepEqual([event?.kind, event?.node, event?.group], ['group.retried', 'alice', 'db']);
    match(event?.detail ?? '', /alice may try again; it gave it up once, last at .*: no carrier/);
    deepEqual(desk.nudged, ALL);
    equal(desk.hears('alice').observed[0]?.claim, 'now');
    equal(desk.hears('bob').observed[0]?.claim, 'never');
  });

  test('is called retried also when its claim arrives before any tick', () => {
    const desk = alone();
    gives(desk, 'alice');
    desk.passes(RETRY_FIRST_MS);
    equal(desk.hears('alice').observed[0]?.claim, 'now');
    equal(desk.claims('alice').grants.length, 1);
    equal(desk.kinds.includes('group.retried'), true);
  });

  test('is not called retried when a cleanup made it startable', () => {
    const desk = alone();
    gives(desk, 'alice');
    desk.does({ type: 'cleanup', group: 'db' });
    deepEqual(desk.kinds, ['group.cleaned-up']);
    equal(shown(desk)?.state, 'starting');
    deepEqual(desk.group().failures, {});
  });
});

describe('a failure whose policy says stop', () => {
  const stopped = () => {
    const desk = new Desk();
    gives(desk, 'alice', { verdict: 'stop' });
    return desk;
  };

  test('keeps the group away from every node, by the reason that is told', () => {
    const desk = stopped();
    equal(desk.kinds.includes('group.failed'), true);
    deepEqual([shown(desk)?.state, shown(desk)?.halted?.kind], ['failed', 'stop']);
    match(shown(desk)?.reason ?? '', /ip failed on alice .*: no carrier; .*`holdfast group cleanup db`/);
    equal(desk.hears('bob').observed[0]?.claim, 'never');
    match(desk.claims('bob').refused[0]?.reason ?? '', /by its policy a person decides/);
    lasts(desk, RETRY_FIRST_MS);
    equal(shown(desk)?.state, 'failed', 'time alone does not end it');
    equal(whyOf(desk.state, 'db', desk.now, { lastGrant: null, refusals: [] })?.halted?.node, 'alice');
  });

  test('refuses to move it before a cleanup, and lets it be stopped', () => {
    const desk = stopped();
    const { refused } = desk.does({ type: 'move', group: 'db', to: null, operation: 'o' });
    match(refused?.detail ?? '', /`holdfast group cleanup db` first/);
    equal(desk.does({ type: 'group-stop', group: 'db', operation: 'o' }).refused, undefined);
    equal(shown(desk)?.halted?.kind, 'stop', 'to stop it decides nothing about what failed');
  });

  test('ends when a person has it started: what keeps it down is forgiven, and told', () => {
    const desk = stopped();
    equal(desk.does({ type: 'group-start', group: 'db', operation: 'o' }).refused, undefined);
    deepEqual(desk.kinds, ['group.start-requested', 'group.cleaned-up']);
    match(desk.events[1]?.detail ?? '', /^forgiven: alice \(ip\), ip on alice, which a person was to decide on$/);
    deepEqual([desk.group().halt, desk.group().failures, desk.group().cleanups], [null, {}, 1]);
    equal(desk.claims('alice').grants.length, 1);
  });

  test('a start that a pause forbids forgives nothing', () => {
    const desk = stopped();
    desk.does({ type: 'pause', group: 'db', forMs: 60_000, reason: 'disk swap' });
    const { refused } = desk.does({ type: 'group-start', group: 'db', operation: 'o' });
    match(refused?.detail ?? '', /`holdfast group resume db` first/);
    equal(shown(desk)?.halted?.kind, 'stop');
  });

  test('a start of what runs forgives nothing and changes nothing', () => {
    const desk = new Desk();
    gives(desk, 'alice');
    desk.runsOn('bob');
    desk.does({ type: 'group-start', group: 'db', operation: 'o' });
    deepEqual([Object.keys(desk.group().failures), desk.group().cleanups], [['alice'], 0]);
  });

  test('survives a restart of the coordinator, and ends with a cleanup', () => {
    const desk = stopped();
    desk.restarts();
    for (const node of ALL) desk.hears(node);
    equal(shown(desk)?.state, 'failed');
    desk.does({ type: 'cleanup', group: 'db' });
    match(desk.events[0]?.detail ?? '', /ip on alice, which a person was to decide on/);
    equal(desk.claims('alice').grants.length, 1);
  });
});

describe('a failure whose policy says hold', () => {
  const held = () => {
    const desk = new Desk();
    const epoch = desk.runsOn('alice');
    const resources = [{ id: 'ip', state: 'failed', reason: 'no carrier' } as const];
    const told = { group: 'db', epoch, state: 'held', forMs: 0, resources } as const;
    desk.renews('alice', epoch, { groups: [told] });
    return { desk, epoch, told };
  };
  const order = (desk: Desk, epoch: number) => {
    const [answer] = desk.renews('alice', epoch).leases;
    return answer?.verdict === 'renewed' ? answer.order : answer?.reason;
  };

  test('is told once, loudly, and the owner is to touch nothing', () => {
    const { desk, epoch, told } = held();
    deepEqual(desk.kinds, ['group.held']);
    equal(desk.events[0]?.severity, 'error');
    deepEqual([shown(desk)?.state, shown(desk)?.halted?.kind, shown(desk)?.owner], ['failed', 'hold', 'alice']);
    equal(order(desk, epoch), 'pause');
    desk.renews('alice', epoch, { groups: [told] });
    deepEqual(desk.kinds, []);
  });

  test('outlives the coordinator’s instance and what the agent tells after its own restart', () => {
    const { desk, epoch } = held();
    desk.restarts();
    const resources = [{ id: 'ip', state: 'unknown' } as const];
    desk.renews('alice', epoch, { groups: [{ group: 'db', epoch, state: 'starting', forMs: 0, resources }] });
    equal(order(desk, epoch), 'pause');
    equal(shown(desk)?.state, 'failed');
  });

  test('ends when a person has it stopped: its owner is to stop and release it', () => {
    const { desk, epoch } = held();
    equal(desk.does({ type: 'group-stop', group: 'db', operation: 'o' }).refused, undefined);
    equal(order(desk, epoch), 'release');
    deepEqual([shown(desk)?.state, desk.group().cleanups], ['stopping', 0]);
  });

  test('ends when a person has it started, as with a cleanup', () => {
    const { desk, epoch } = held();
    equal(desk.does({ type: 'group-start', group: 'db', operation: 'o' }).refused, undefined);
    const [answer] = desk.renews('alice', epoch).leases;
    deepEqual(answer, { verdict: 'renewed', group: 'db', epoch, order: 'run', cleanups: 1 });
  });

  test('refuses to be moved, and makes a standby wait', () => {
    const { desk, epoch } = held();
    const { refused } = desk.does({ type: 'move', group: 'db', to: 'bob', operation: 'o' });
    match(refused?.detail ?? '', /ip of db failed on alice .*`holdfast group cleanup db` first/);
    desk.does({ type: 'node-standby', node: 'alice', operation: 'drain' });
    match(desk.state.durable.operations.drain?.progress ?? '', /waiting for db \(ip failed on alice/);
    equal(order(desk, epoch), 'pause');
    desk.does({ type: 'cleanup', group: 'db' });
    equal(order(desk, epoch), 'release');
  });

  test('ends with a cleanup, which reaches the owner with its next renewal', () => {
    const { desk, epoch, told } = held();
    desk.does({ type: 'cleanup', group: 'db' });
    deepEqual([desk.kinds, desk.nudged], [['group.cleaned-up'], ALL]);
    const [answer] = desk.renews('alice', epoch, { groups: [{ ...told, reason: 'said before it heard' }] }).leases;
    deepEqual(answer, { verdict: 'renewed', group: 'db', epoch, order: 'run', cleanups: 1 });
    equal(desk.group().halt, null);
    equal(shown(desk)?.state, 'starting');
  });

  test('is told again when it comes back after a cleanup, though nothing was heard in between', () => {
    const { desk, epoch, told } = held();
    desk.does({ type: 'cleanup', group: 'db' });
    desk.renews('alice', epoch, { groups: [{ ...told, cleanups: 0 }] });
    equal(desk.group().halt, null, 'said before it heard');
    for (const times of ['once', 'not twice']) {
      desk.renews('alice', epoch, { groups: [{ ...told, cleanups: 1 }] });
      deepEqual(desk.kinds, times === 'once' ? ['group.held'] : [], times);
      deepEqual([shown(desk)?.state, order(desk, epoch)], ['failed', 'pause']);
    }
  });

  test('that was forgiven before it was heard of is none, unless its node keeps it', () => {
    const { desk, epoch, told } = held();
    desk.does({ type: 'cleanup', group: 'db' });
    desk.renews('alice', epoch, { groups: [{ ...told, state: 'running', resources: [] }] });
    desk.does({ type: 'cleanup', group: 'db' });
    desk.renews('alice', epoch, { groups: [{ ...told, cleanups: 1 }] });
    equal(desk.group().halt, null);
    desk.renews('alice', epoch, { groups: [{ ...told, cleanups: 2 }] });
    equal(desk.group().halt?.kind, 'hold');
  });

  test('ends with the lease: by a release, and when another node has taken it', () => {
    const given = held();
    given.desk.hears('alice', { releases: [{ group: 'db', epoch: given.epoch, forced: true }] });
    equal(given.desk.group().halt, null);

    const lost = held();
    lost.desk.hears('bob');
    lost.desk.passes(5_000, ['bob', 'carol']);
    equal(shown(lost.desk)?.halted, undefined);
    match(shown(lost.desk)?.state ?? '', /starting/);
    const renewal = lost.desk.hears('bob').observed[0]?.renewal ?? null;
    const reply = lost.desk.hears('bob', { claims: [{ group: 'db', renewal, seenForMs: 5_000 }] });
    equal(reply.grants.length, 1);
    equal(lost.desk.group().halt, null);
  });

  test('is no trouble for a renewal that comes after the lease looked lost', () => {
    const { desk, epoch } = held();
    desk.passes(5_000, ['bob', 'carol']);
    equal(order(desk, epoch), 'pause');
    equal(shown(desk)?.halted?.kind, 'hold');
  });
});

describe('a group that is up without all of its resources', () => {
  const reported = (desk: Desk, epoch: number, state: 'running' | 'degraded') =>
    desk.renews('alice', epoch, {
      groups: [{ group: 'db', epoch, state, reason: 'log is down', forMs: 0, resources: [] }],
    });

  test('is shown as degraded, with a warning, and answers', () => {
    const desk = new Desk();
    const epoch = desk.claims('alice').grants[0]?.epoch ?? 0;
    reported(desk, epoch, 'degraded');
    deepEqual([shown(desk)?.state, shown(desk)?.reason], ['degraded', 'log is down']);
    deepEqual(
      desk.events.map(({ kind, severity }) => [kind, severity]),
      [['group.degraded', 'warning']],
    );
    equal(desk.effects.filter((effect) => effect.kind === 'answering').length, 1);
    reported(desk, epoch, 'running');
    deepEqual(desk.kinds, ['group.running']);
    equal(desk.effects.filter((effect) => effect.kind === 'answering').length, 0);
  });

  test('ends a start and a move', () => {
    const desk = new Desk();
    desk.does({ type: 'group-start', group: 'db', operation: 'start' });
    const epoch = desk.claims('alice').grants[0]?.epoch ?? 0;
    reported(desk, epoch, 'degraded');
    equal(desk.state.durable.operations.start, undefined);
    match(
      desk.events.find(({ kind }) => kind === 'operation.finished')?.detail ?? '',
      /start succeeded: runs degraded/,
    );

    desk.does({ type: 'move', group: 'db', to: 'bob', operation: 'move' });
    desk.hears('alice', { releases: [{ group: 'db', epoch }] });
    const next = desk.claims('bob').grants[0]?.epoch ?? 0;
    desk.renews('bob', next, {
      groups: [{ group: 'db', epoch: next, state: 'degraded', forMs: 0, resources: [] }],
    });
    equal(desk.state.durable.operations.move, undefined);
    equal(desk.group().target, null);
  });
});
