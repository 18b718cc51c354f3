/**
 * What one run of the model check explores: how many nodes, how long a lease is in steps of the model's clock, and how often each fault
 * may strike. Everything that is not bounded here is unbounded: time, messages, takeovers, restarts that follow a crash.
 */
export const NODE_NAMES = ['alice', 'bob', 'carol', 'dave'] as const;

/** Faults, and planned events that are as rare; each has a budget. */
export const FAULTS = [
  /** SIGSTOP of an agent at any moment, SIGCONT at any later one. */
  'pause',
  /** The agent dies; its guard lives and the next agent goes on as the same incarnation. */
  'crash',
  /** The host loses power, and may come back as a new incarnation. */
  'power',
  /** The guard dies under a running agent: a new incarnation on a host that still runs what it ran. */
  'guard',
  /** The coordinator's object starts anew; what was only in memory is lost. */
  'coordinator',
  /** The coordinator's wall clock jumps forward, further than any wait. */
  'clock-forward',
  /** The coordinator's wall clock jumps back. */
  'clock-back',
  /** The coordinator changes the voters of the running epoch. */
  'voters',
  /** A lease is given back: a planned move, a group that would not run. */
  'release',
  /** A fence agent's or an operator's word that the owner is off. */
  'proof',
  /** A clock is off by a tick: a lease ends that much sooner by the owner's, or a wait later by the waiter's. */
  'drift',
] as const;
export type Fault = (typeof FAULTS)[number];

export interface Bounds {
  readonly nodes: number;
  /** L in ticks. An owner's lease ends at the latest after that many, every wait (T_C, T_P) at the soonest. */
  readonly lease: number;
  /** How many epochs may matter to anyone at one time; old ones are forgotten and their places used again. */
  readonly epochs: number;
  /** How many nodes are voters at the start (the owner and those after it); `on` always names all. */
  readonly voters: number;
  /**
   * As strict as the product, for replays: a grant is taken up only where it may be started upon at once, and ignored otherwise; who stops
   * what it owns gives it back; voters are changed only of an epoch that was confirmed; a machine that runs is not taken for dead; and,
   * stricter still, no incarnation that has ended is granted anything (its claim says how long it had waited, so that hardly one is).
   */
  readonly strict: boolean;
  readonly faults: Readonly<Record<Fault, number>>;
}

const NO_FAULTS: Bounds['faults'] = {
  pause: 0,
  crash: 0,
  power: 0,
  guard: 0,
  coordinator: 0,
  'clock-forward': 0,
  'clock-back': 0,
  voters: 0,
  release: 0,
  proof: 0,
  drift: 0,
};

/**
 * @example boundsOf(3, { pause: 1, voters: 1 }, { voters: 2 })
 */
export function boundsOf(
  nodes: number,
  faults: Partial<Record<Fault, number>> = {},
  more: Partial<Omit<Bounds, 'nodes' | 'faults'>> = {},
): Bounds {
  return {
    nodes,
    lease: 2,
    epochs: nodes + 2,
    voters: nodes,
    strict: false,
    ...more,
    faults: { ...NO_FAULTS, ...faults },
  };
}

/** @returns one line that names the run, as `--nodes`, `--faults` … would. */
export function boundsText({ nodes, lease, epochs, voters, faults }: Bounds): string {
  const named = FAULTS.filter((fault) => faults[fault] > 0).map((fault) =>
    faults[fault] === 1 ? fault : `${fault}=${faults[fault]}`,
  );
  return `${nodes} nodes, ${voters} voters, L=${lease}, ${epochs} epochs at once, ${named.join('+') || 'no faults'}`;
}
