import { deepEqual, equal, match, ok } from 'node:assert/strict';
import { describe, test } from 'node:test';
import { LEASE_PROFILES } from '../../schemas/limits.ts';
import { reasonText } from '../../schemas/reasons.ts';
import { nextTick } from './decide.ts';
import { statusOf, whyOf } from './explain.ts';
import type { CoordinatorEvent } from './state.ts';
import { config, Desk, TAKEOVER_MS } from './testing.ts';

const { renewMs } = LEASE_PROFILES.default;
const ALL = ['alice', 'bob', 'carol'];
const HOUR = 3_600_000;

const pause = (group: string | null = 'db', forMs = HOUR): CoordinatorEvent => ({
  type: 'pause',
  group,
  forMs,
  reason: 'disk swap',
});
const resume = (group: string | null = 'db'): CoordinatorEvent => ({ type: 'resume', group });
const rest = (node = 'alice', forMs = HOUR): CoordinatorEvent => ({
  type: 'node-maintenance',
  node,
  forMs,
  reason: 'new kernel',
});
const standby: CoordinatorEvent = { type: 'node-standby', node: 'alice', operation: 'drain' };
const ready = (node = 'alice'): CoordinatorEvent => ({ type: 'node-ready', node });

const shown = (desk: Desk, group = 'db') => statusOf(desk.state, desk.now).groups[group];
const order = (desk: Desk, epoch: number, node = 'alice') => {
  const [answer] = desk.renews(node, epoch).leases;
  return answer?.verdict === 'renewed' ? answer.order : answer?.reason;
};
const claim = (desk: Desk, node: string) => desk.hears(node).observed.find(({ group }) => group === 'db')?.claim;
const runs = () => {
  const desk = new Desk();
  return { desk, epoch: desk.runsOn('alice') };
};

describe('the owner is told to leave the group as it is', () => {
  const causes: [string, CoordinatorEvent, CoordinatorEvent][] = [
    ['while the group is paused', pause(), resume()],
    ['while every group is', pause(null), resume(null)],
    ['while its node is in maintenance', rest(), ready()],
  ];
  for (const [when, begin, end] of causes) {
    test(`${when}, and may act again after it`, () => {
      const { desk, epoch } = runs();
      desk.does(begin);
      deepEqual(desk.nudged, ALL);
      equal(order(desk, epoch), 'pause');
      deepEqual([shown(desk)?.state, shown(desk)?.owner], ['running', 'alice']);
      desk.does(end);
      deepEqual(desk.nudged, ALL);
      equal(order(desk, epoch), 'run');
    });

    const leaves: [string, CoordinatorEvent][] = [
      ['a standby of its node', standby],
      ['its removal from the configuration', { type: 'apply', config: config({}) }],
      ['another `on` list', { type: 'apply', config: config({ db: ['bob'] }) }],
    ];
    for (const [what, leave] of leaves)
      test(`${when}: ${what} waits for its end`, () => {
        const { desk, epoch } = runs();
        desk.does(begin);
        desk.does(leave);
        equal(order(desk, epoch), 'pause');
        desk.does(end);
        equal(order(desk, epoch), what === 'a standby of its node' && end.type === 'node-ready' ? 'run' : 'release');
      });

    test(`${when}: a shutdown of its host takes it away all the same`, () => {
      const { desk, epoch } = runs();
      desk.does(begin);
      const [answer] = desk.renews('alice', epoch, { leaving: true }).leases;
      equal(answer?.verdict === 'renewed' && answer.order, 'release');
    });

    for (const type of ['move', 'group-stop', 'group-start'] as const)
      test(`${when}: ${type} is refused, with what comes first`, () => {
        const { desk } = runs();
        desk.does(begin);
        const { refused } = desk.does({ type, group: 'db', to: 'bob', operation: 'o' });
        equal(refused?.code, 'not-possible');
        match(
          refused?.detail ?? '',
          end.type === 'resume' ? /`holdfast group resume db` first/ : /`holdfast node ready alice` first/,
        );
        deepEqual(desk.state.durable.operations, {});
      });
  }

  test('a move that had begun goes on after the pause, and says what it waits for', () => {
    const { desk, epoch } = runs();
    desk.does({ type: 'move', group: 'db', to: 'bob', operation: 'move' });
    desk.does(pause());
    equal(order(desk, epoch), 'pause');
    match(desk.state.durable.operations.move?.progress ?? '', /waiting: the group is paused until .*\(disk swap\)/);
    desk.does(resume());
    equal(order(desk, epoch), 'release');
    match(desk.state.durable.operations.move?.progress ?? '', /waiting for alice to stop and release/);
  });

  test('a standby names the paused groups that it waits for, and the others by name alone', () => {
    const desk = new Desk(config({ db: ['alice', 'bob'], web: ['alice', 'bob'] }));
    desk.hears('alice', {
      claims: [
        { group: 'db', renewal: null, seenForMs: 0 },
        { group: 'web', renewal: null, seenForMs: 0 },
      ],
    });
    desk.does(pause());
    desk.does(standby);
    match(
      desk.state.durable.operations.drain?.progress ?? '',
      /^waiting for db \(the group is paused until .*`holdfast group resume db` ends it\), web$/,
    );
  });

  test('a standby in a maintenance says when it begins, and how it begins at once', () => {
    const { desk } = runs();
    desk.does(rest());
    desk.does(standby);
    match(
      desk.state.durable.operations.drain?.progress ?? '',
      /maintenance of alice is over, .*\(new kernel\); at once: `holdfast node ready alice && holdfast node standby alice`$/,
    );
  });
});

describe('nobody is given a group', () => {
  test('that is paused, also not its owner or after a release', () => {
    const { desk, epoch } = runs();
    desk.does(pause());
    desk.hears('alice', { releases: [{ group: 'db', epoch }] });
    for (const node of ALL) {
      equal(claim(desk, node), 'never');
      match(desk.claims(node).refused[0]?.reason ?? '', /the group is paused until .*\(disk swap\)/);
    }
    deepEqual([shown(desk)?.state, shown(desk)?.paused?.reason], ['waiting', 'disk swap']);
    desk.does(resume());
    equal(desk.claims('alice').grants.length, 1);
  });

  test('that is paused and was granted before: the grant is not given a second time', () => {
    const desk = new Desk();
    equal(desk.claims('alice').grants.length, 1);
    desk.does(pause());
    deepEqual([desk.claims('alice').grants.length, desk.claims('alice').refused.length], [0, 1]);
  });

  test('that is paused, when its owner dies; the status says both', () => {
    const { desk } = runs();
    desk.does(pause());
    desk.passes(TAKEOVER_MS - 1, ['bob', 'carol']);
    match(shown(desk)?.reason ?? '', /^alice is lost; the group is paused until/);
    desk.passes(TAKEOVER_MS, ['bob', 'carol']);
    equal(claim(desk, 'bob'), 'never');
    equal(shown(desk)?.state, 'waiting');
    match(shown(desk)?.reason ?? '', /^the group is paused until/);
    desk.does(resume());
    equal(claim(desk, 'bob'), 'after');
  });

  test('that is paused, when its owner is declared dead, which says what comes first', () => {
    const { desk } = runs();
    desk.does(pause());
    desk.passes(TAKEOVER_MS - 1, ['bob', 'carol']);
    desk.does({ type: 'confirm-dead', node: 'alice' });
    match(desk.events[0]?.detail ?? '', /powered off; db is paused until .*`holdfast group resume db` first$/);
    equal(claim(desk, 'bob'), 'never');
  });

  test('whose owner is in maintenance and lost its lease, by time or by force', () => {
    const forced = runs();
    forced.desk.does(rest());
    forced.desk.hears('alice', { releases: [{ group: 'db', epoch: forced.epoch, forced: true }] });
    const lost = runs();
    lost.desk.does(rest());
    lost.desk.passes(2 * TAKEOVER_MS, ['bob', 'carol']);
    for (const { desk } of [forced, lost]) {
      for (const node of ['bob', 'carol']) equal(claim(desk, node), 'never');
      match(
        desk.claims('bob').refused[0]?.reason ?? '',
        /^alice, which has it, is in maintenance until .*\(new kernel\); `holdfast node ready alice`/,
      );
      match(shown(desk)?.reason ?? '', /alice, which has it, is in maintenance/);
    }
    equal(claim(forced.desk, 'alice'), 'never');
    forced.desk.does(ready());
    equal(claim(forced.desk, 'alice'), 'now');
  });

  test('but one that its owner gave back in order goes on to the next, although that is in maintenance now', () => {
    const { desk, epoch } = runs();
    desk.does(standby);
    desk.does(rest());
    desk.hears('alice', { releases: [{ group: 'db', epoch }] });
    equal(desk.claims('bob').grants.length, 1);
  });
});

describe('a node in maintenance', () => {
  test('is given nothing, and says so', () => {
    const desk = new Desk();
    desk.does(rest());
    equal(claim(desk, 'alice'), 'never');
    equal(claim(desk, 'bob'), 'now');
    const reason = shown(desk)?.candidates.find(({ node }) => node === 'alice')?.reasons[0];
    match(
      reasonText(reason ?? { rule: 'owner' }),
      /^is in maintenance until .*\(new kernel\); `holdfast node ready NODE` ends it/,
    );
    equal(statusOf(desk.state, desk.now).nodes.alice?.maintenance?.reason, 'new kernel');
  });

  test('is no target of a move, also not of one that had begun', () => {
    const { desk } = runs();
    desk.does({ type: 'move', group: 'db', to: 'bob', operation: 'move' });
    desk.does(rest('bob'));
    equal(desk.group().target, null);
    match(
      desk.does({ type: 'move', group: 'db', to: 'bob', operation: 'o' }).refused?.detail ?? '',
      /bob cannot take db: it is in maintenance/,
    );
  });

  test('is ready when its maintenance is over, by an operator or by itself', () => {
    const { desk } = runs();
    desk.does(rest());
    deepEqual(desk.kinds, ['node.maintenance']);
    desk.does(ready());
    deepEqual([desk.kinds, desk.events[0]?.detail], [['node.ready'], 'its maintenance is over: may run groups again']);
    desk.does(rest());
    desk.now += HOUR;
    desk.does({ type: 'tick' });
    match(desk.events.find(({ kind }) => kind === 'node.ready')?.detail ?? '', /ended by itself \(new kernel\)/);
    equal(statusOf(desk.state, desk.now).nodes.alice?.maintenance, undefined);
  });

  test('must have joined', () => {
    equal(new Desk().does(rest('dave')).refused?.code, 'node-unknown');
  });
});

describe('a pause', () => {
  test('ends by itself at its time, and tells so', () => {
    const { desk } = runs();
    desk.does(pause('db', 2 * renewMs));
    desk.passes(2 * renewMs - 1, ALL);
    equal(nextTick(desk.state, desk.now), desk.now + 1);
    desk.passes(1);
    desk.does({ type: 'tick' });
    deepEqual(desk.kinds, ['group.resumed']);
    match(desk.events[0]?.detail ?? '', /the pause ended by itself \(disk swap\)/);
    equal(desk.group().pause, null);
    deepEqual(desk.nudged, ALL);
  });

  test('ended by an operator is told as that', () => {
    const { desk } = runs();
    desk.does(pause());
    match(desk.events[0]?.detail ?? '', /^until 2\d{3}-.*: disk swap$/);
    desk.does(resume());
    deepEqual(
      desk.events.map(({ kind, detail }) => [kind, detail]),
      [['group.resumed', 'an operator ends the pause']],
    );
  });

  test('asked for again gets a new end and a new reason, and lasts from its beginning', () => {
    const { desk } = runs();
    desk.does(pause());
    const { pause: first } = desk.group();
    desk.now += 60_000;
    desk.does({ type: 'pause', group: 'db', forMs: 120_000, reason: 'longer' });
    deepEqual(desk.group().pause, { since: first?.since, until: desk.now + 120_000, reason: 'longer' });
  });

  test('of every group covers those that are there', () => {
    const desk = new Desk(config({ db: ALL, web: ALL }));
    desk.does(pause(null));
    deepEqual([shown(desk)?.paused?.reason, shown(desk, 'web')?.paused?.reason], ['disk swap', 'disk swap']);
    equal(whyOf(desk.state, 'web', desk.now, { lastGrant: null, refusals: [] })?.paused?.reason, 'disk swap');
    desk.does(resume('web'));
    deepEqual([shown(desk)?.paused?.reason, shown(desk, 'web')?.paused], ['disk swap', undefined]);
  });

  test('needs a group', () => {
    match(new Desk().does(pause('web')).refused?.detail ?? '', /no group web .*there are: db/);
    equal(new Desk(config({})).does(pause(null)).refused?.code, 'not-possible');
    equal(new Desk().does(resume('web')).refused?.code, 'group-unknown');
  });

  test('that is not there is resumed already, unless something else keeps hands off', () => {
    const { desk } = runs();
    equal(desk.does(resume()).refused, undefined);
    deepEqual(desk.kinds, []);
    desk.does(rest());
    match(desk.does(resume()).refused?.detail ?? '', /it is not paused, but .*`holdfast node ready alice` first/);
    equal(desk.does(resume(null)).refused, undefined);
  });

  test('survives a restart of the coordinator, and ends while there was none', () => {
    const { desk, epoch } = runs();
    desk.does(pause());
    desk.restarts();
    equal(order(desk, epoch), 'pause');
    desk.now += HOUR;
    desk.restarts('i3');
    equal(order(desk, epoch), 'run');
    desk.does({ type: 'tick' });
    equal(desk.group().pause, null);
  });

  for (const between of [false, true])
    test(`never lasts longer than asked when the clock steps back ${between ? 'between two instances' : 'in an instance'}`, () => {
      const { desk } = runs();
      desk.does(pause('db', 60_000));
      desk.does(rest('bob', 60_000));
      if (!between) desk.passes(20_000, ALL);
      desk.now -= 24 * HOUR;
      if (between) desk.restarts();
      for (const node of ALL) desk.hears(node);
      const left = between ? 60_000 : 40_000;
      equal(desk.group().pause?.until, desk.now + left);
      equal(desk.state.durable.nodes.bob?.maintenance?.until, desk.now + left);
      ok((desk.group().pause?.since ?? 0) <= desk.now);
    });

  test('of a group that left the configuration can still be ended', () => {
    const { desk } = runs();
    desk.does(pause());
    desk.does({ type: 'apply', config: config({}) });
    equal(desk.does(resume()).refused, undefined);
    equal(desk.group().pause, null);
  });
});

describe('a host that is shut down', () => {
  test('hands over what it runs and is given nothing, as in standby; told once', () => {
    const { desk, epoch } = runs();
    const [answer] = desk.renews('alice', epoch, { leaving: true }).leases;
    equal(answer?.verdict === 'renewed' && answer.order, 'release');
    deepEqual([desk.kinds, desk.nudged], [['node.leaving'], ALL]);
    deepEqual([shown(desk)?.state, shown(desk)?.reason], ['stopping', 'the node is shutting down']);
    equal(statusOf(desk.state, desk.now).nodes.alice?.note, 'shutting down');
    desk.hears('alice', { leaving: true, releases: [{ group: 'db', epoch }] });
    deepEqual(desk.kinds.includes('node.leaving'), false);
    deepEqual([claim(desk, 'bob'), desk.hears('alice', { leaving: true }).observed[0]?.claim], ['now', 'never']);
  });

  test('is as any other node in its next incarnation', () => {
    const desk = new Desk();
    desk.hears('alice', { leaving: true });
    equal(claim(desk, 'bob'), 'now');
    desk.hears('alice', { leaving: true, retiring: true });
    desk.passes(60_000, ['bob', 'carol']);
    equal(desk.hears('alice', { incarnation: 'alice-2' }).observed[0]?.claim, 'now');
  });
});
