/** Seeds that failed once, and what was wrong. Each is replayed in every `npm test`. */
export interface FailedSeed {
  readonly bug: string;
  readonly seed: number;
  /** Left out: with what the seed draws. */
  readonly only?: readonly string[];
}

export const FAILED: readonly FailedSeed[] = [
  {
    bug: 'a group that was removed from the configuration and added again was free at once, while its owner lived on promises',
    seed: 2,
    only: ['group-removed', 'chains', 'wan-cut'],
  },
  {
    bug: 'the wait after a restore counted from its discovery, while the last node to report had lived on promises until it did',
    seed: 99,
    only: ['restore-older-copy', 'chains', 'wan-cut', 'lan-cut', 'reboot'],
  },
  {
    bug: 'a copy that was taken while an earlier restore was waited out remembered who had reported then, and ended its own wait without them',
    seed: 41,
    only: ['restore-older-copy', 'chains', 'wan-cut', 'lan-cut', 'reboot'],
  },
  {
    bug: 'an older copy took the newest owner, a new incarnation, for a stranger, and did not hear what it had seen: an epoch granted twice',
    seed: 10,
    only: ['restore-older-copy', 'chains', 'wan-cut', 'lan-cut', 'reboot'],
  },
  {
    bug: 'a change of voters that was lost with a restore was not betrayed by the count of starts: two owners',
    seed: 278,
    only: ['restore-older-copy', 'chains', 'wan-cut', 'lan-cut', 'reboot'],
  },
  {
    bug: 'a group on hold was stopped; what did not stop was not forced, for the hold of before was taken for one of now: stopping for ever',
    seed: 1882,
  },
  {
    bug: 'a node that was still taking down what it had lost was granted what must not run beside it',
    seed: 37,
  },
  {
    bug: 'a grant that was lost and had run out was repeated beside what the group is kept apart from',
    seed: 821,
  },
];
