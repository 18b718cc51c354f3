/**
 * Guards of the decision code and of its shells, each taken away inside the simulation: what the referee sees then shows that he would see
 * it. Most wrap the product's own functions and lie to them; the rest are steps that the shells leave out.
 */
import type { KeepEvent, KeepState } from '../../node-agent/agent/keep.ts';
import type { ClusterState, GroupRecord, Lease, Outcome } from '../../worker/decide/index.ts';
import { freedom, timingOf } from '../../worker/decide/lease.ts';
import { PRODUCT, type Product, type ShellGuard } from './product.ts';

export interface Mutant {
  /** As docs/model.md and protocol.md name it. */
  readonly rule: string;
  readonly about: string;
  /** Found with these kinds of fault; left out: with what the seeds draw. */
  readonly only?: readonly string[];
  readonly product: Product;
}

const withoutShell = (guard: ShellGuard): Product => ({ ...PRODUCT, without: new Set([guard]) });

/** The keeper is told something else than what it knows, before it hears of an event. */
function lyingKeeper(lie: (state: KeepState, event: KeepEvent, nowMs: number) => KeepState): Product {
  return { ...PRODUCT, keep: (state, event, nowMs) => PRODUCT.keep(lie(state, event, nowMs), event, nowMs) };
}

/** What was decided is changed afterwards. */
function lyingCoordinator(lie: (before: ClusterState, outcome: Outcome, now: number) => Outcome): Product {
  return { ...PRODUCT, decide: (state, event, now) => lie(state, PRODUCT.decide(state, event, now), now) };
}

function withLeases(state: ClusterState, change: (lease: Lease, group: GroupRecord) => Lease): ClusterState {
  const groups = Object.fromEntries(
    Object.entries(state.durable.groups).map(([name, group]) => {
      const lease = group.lease === null ? null : change(group.lease, group);
      return [name, lease === group.lease ? group : { ...group, lease }];
    }),
  );
  return { ...state, durable: { ...state.durable, groups } };
}

/** Of every lease, as if this node were one of its voters. */
function openTo(state: ClusterState, node: string): ClusterState {
  return withLeases(state, (lease) => ({
    ...lease,
    eligibleBase: null,
    barred: {},
    pendingVoters: null,
    voters: { ...lease.voters, names: [...new Set([...lease.voters.names, node])] },
  }));
}

/**
 * A claimant that believes the coordinator's clock: its own wait is a second lock for much that is asked of coordinator and voters, which has to
 * be open to see what else goes wrong.
 */
const CREDULOUS: Pick<Product, 'buildReply' | 'compose'> = {
  buildReply: (state, report, verdicts, now) => {
    const reply = PRODUCT.buildReply(state, report, verdicts, now);
    const observed = reply.observed.map((seen) => {
      const lease = state.durable.groups[seen.group]?.lease ?? null;
      const { free } = freedom(lease, state.volatile.renewals[seen.group], timingOf(state), now);
      return free ? { ...seen, waitMs: 0 } : seen;
    });
    return { ...reply, observed };
  },
  compose: (...all) => {
    const { state, report } = PRODUCT.compose(...all);
    const claims = report.claims.map((claim) => ({ ...claim, seenForMs: 1_000_000 }));
    return { state, report: { ...report, claims } };
  },
};

const noPromises = (state: KeepState): KeepState => ({ ...state, promises: {} });

export const MUTANTS: Readonly<Record<string, Mutant>> = {
  'send-time': {
    rule: 'O1',
    about: 'a lease counts from the receipt of the answer',
    only: ['wan-delays', 'isolation', 'hanging-stops'],
    product: lyingKeeper((state, event, nowMs) => {
      if (event.type !== 'reply') return state;
      const request = state.requests.get(event.reply.id);
      if (request === undefined) return state;
      return { ...state, requests: new Map(state.requests).set(event.reply.id, { ...request, sentMs: nowMs }) };
    }),
  },
  'all-voters': {
    rule: 'O2',
    about: 'the promise of one voter is enough',
    product: lyingKeeper((state, event) => {
      if (event.type !== 'promised') return state;
      const { from } = event.answer;
      const held = Object.fromEntries(
        Object.entries(state.held).map(([group, lease]) => {
          if (!lease.voters.names.includes(from)) return [group, lease];
          return [group, { ...lease, voters: { ...lease.voters, names: [state.node, from] } }];
        }),
      );
      return { ...state, held };
    }),
  },
  'promise-check': {
    rule: 'P2, P4',
    about: 'a promise keeps nobody from claiming and taking up the group',
    product: {
      ...lyingKeeper((state, event) => (event.type === 'reply' ? noPromises(state) : state)),
      compose: (state, ...rest) => PRODUCT.compose(noPromises(state), ...rest),
    },
  },
  'release-clean': {
    rule: 'O5',
    about: 'a lease is given back while an older one may live on a promise',
    product: lyingKeeper((state, event) =>
      event.type === 'stopped' || event.type === 'reply' ? { ...noPromises(state), quarantineEndMs: 0 } : state,
    ),
  },
  eligible: {
    rule: 'C2, C3',
    about: 'every node may take over, voter or not',
    product: {
      ...PRODUCT,
      buildReply: (state, report, ...rest) => PRODUCT.buildReply(openTo(state, report.node), report, ...rest),
      decide: (state, event, now) => {
        if (event.type !== 'report' || event.report.claims.length === 0) return PRODUCT.decide(state, event, now);
        const outcome = PRODUCT.decide(openTo(state, event.report.node), event, now);
        // who votes is as it was, where nothing was granted
        const closed = withLeases(outcome.state, (lease, { name }) => {
          const before = state.durable.groups[name]?.lease;
          if (before?.epoch !== lease.epoch) return lease;
          const { voters, pendingVoters, eligibleBase, barred } = before;
          return { ...lease, voters, pendingVoters, eligibleBase, barred };
        });
        return { ...outcome, state: closed };
      },
    },
  },
  'asked-all-the-time': {
    rule: 'O2',
    about: 'nobody is asked for a promise',
    only: ['outages'],
    product: { ...PRODUCT, composeAsks: (state, _, nowMs) => ({ state: { ...state, askedMs: nowMs }, questions: [] }) },
  },
  'voters-at-once': {
    rule: 'C3',
    about: 'new voters count before the owner knows of them',
    product: lyingCoordinator((_, outcome) => ({
      ...outcome,
      state: withLeases(outcome.state, (lease) =>
        lease.pendingVoters === null
          ? lease
          : {
              ...lease,
              voters: { version: lease.voters.version + 1, names: [...lease.pendingVoters] },
              pendingVoters: null,
            },
      ),
    })),
  },
  'removed-group': {
    rule: 'C2',
    about:
      'a group that is in no configuration any more is forgotten with its lease, and with it whose promises its owner lives on',
    only: ['group-removed', 'chains', 'wan-cut'],
    product: lyingCoordinator((_, outcome, now) => {
      const { durable, volatile } = outcome.state;
      const { groups, highestEpochs } = durable;
      const gone = Object.values(groups).filter(
        ({ name, lease }) =>
          durable.config?.groups[name] === undefined &&
          freedom(lease, volatile.renewals[name], timingOf(outcome.state), now).free,
      );
      if (gone.length === 0) return outcome;
      const left = Object.fromEntries(Object.entries(groups).filter(([, group]) => !gone.includes(group)));
      const epochs = Object.fromEntries(gone.map(({ name, lease }) => [name, lease?.epoch ?? 0]));
      return {
        ...outcome,
        state: { volatile, durable: { ...durable, groups: left, highestEpochs: { ...highestEpochs, ...epochs } } },
      };
    }),
  },
  'both-waits': {
    rule: 'C2',
    about: 'neither the coordinator nor a claimant waits for the lease to end',
    product: {
      ...PRODUCT,
      ...CREDULOUS,
      decide: (state, event, now) => {
        if (event.type !== 'report' || event.report.claims.length === 0) return PRODUCT.decide(state, event, now);
        return PRODUCT.decide(
          withLeases(state, (lease) => ({ ...lease, leaseMs: 100 })),
          event,
          now,
        );
      },
    },
  },
  'restart-doubt': {
    rule: 'C4',
    about: 'an instance that has just begun takes what it knows for the newest (and a claimant believes it)',
    only: ['chains', 'reboot', 'agent-crash', 'lan-cut'],
    product: {
      ...PRODUCT,
      ...CREDULOUS,
      restart: (...all) => {
        const outcome = PRODUCT.restart(...all);
        return { ...outcome, state: withLeases(outcome.state, (lease) => ({ ...lease, suspectSince: null })) };
      },
    },
  },
  quarantine: {
    rule: 'P3',
    about:
      'a new incarnation forgets that the one before may have promised (and a claimant believes the coordinator’s clock)',
    only: ['chains', 'reboot', 'agent-crash', 'lan-cut'],
    product: { ...withoutShell('quarantine'), ...CREDULOUS },
  },
  'promises-in-guard': {
    rule: 'P1',
    about:
      'a next agent does not know what the one before has promised (and a claimant believes the coordinator’s clock)',
    only: ['chains', 'reboot', 'agent-crash', 'lan-cut'],
    product: { ...withoutShell('promises-in-guard'), ...CREDULOUS },
  },
  fuse: {
    rule: 'O4',
    about: 'there is no guard',
    only: ['agent-pause'],
    product: withoutShell('fuse'),
  },
  pets: {
    rule: 'O4',
    about: 'now and then a renewal lengthens a lease, and the guard does not hear of it',
    only: ['wan-delays'],
    product: {
      ...PRODUCT,
      keep: (state, event, nowMs) => {
        const outcome = PRODUCT.keep(state, event, nowMs);
        if (event.type !== 'reply' || Number(event.reply.id) % 10 > 0) return outcome;
        return { ...outcome, effects: outcome.effects.filter(({ kind }) => kind !== 'pet') };
      },
    },
  },
  'output-gate': {
    rule: 'C1, C2',
    about: 'what is answered may not be on disk',
    product: withoutShell('output-gate'),
  },
  'one-instance': {
    rule: 'C5',
    about: 'an instance that was replaced goes on answering',
    product: withoutShell('one-instance'),
  },
};
