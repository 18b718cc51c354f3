/** What follows from a state is found once for each state: states are never changed in place. */
import type { ClusterState } from './state.ts';

type Found<T> = (state: ClusterState, name: string, now: number) => T;

/** @returns the same function, which walks from group to group no further than to what is known of this state and moment. */
export function onceForEach<T>(find: Found<T>): Found<T> {
  const known = new WeakMap<
    ClusterState,
    { readonly now: number; readonly found: Map<string, { readonly value: T }> }
  >();
  return (state, name, now) => {
    let of = known.get(state);
    if (of === undefined || of.now !== now) {
      of = { now, found: new Map() };
      known.set(state, of);
    }
    const before = of.found.get(name);
    if (before !== undefined) return before.value;
    const value = find(state, name, now);
    of.found.set(name, { value });
    return value;
  };
}
