/** Everything that can happen, by name. */
export const MOVES = [
  'time passes',
  // owner
  'learns',
  'extends by answer',
  'extends by promise',
  'adopts',
  'decides to start',
  'starts',
  'stops and forgets',
  'releases',
  'gives back',
  // voter
  'promises',
  // coordinator
  'renews',
  'grants',
  'grants to a dead incarnation',
  'repeats the grant',
  'hears the release',
  'renews an old epoch',
  'stale instance renews',
  'grants and forgets',
  // faults
  'pauses',
  'resumes',
  'fuse fires early',
  'crashes',
  'agent starts again',
  'loses power',
  'boots',
  'loses its guard',
  'coordinator restarts',
  'clock forward',
  'clock back',
  'changes voters',
  'is proven dead',
  'clock is fast',
  'clock is slow',
] as const;
export type MoveName = (typeof MOVES)[number];
/** Index into MOVES: steps are recorded by the hundred million. */
export type Move = number;

const index = new Map<string, Move>(MOVES.map((name, number) => [name, number]));

export function moveOf(name: MoveName): Move {
  return index.get(name) ?? 0;
}
