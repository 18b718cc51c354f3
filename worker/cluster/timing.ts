import { LEASE_PROFILES, type LeaseTiming } from '../../schemas/limits.ts';
import type { ClusterState } from '../decide/index.ts';

/** The lease timing in force: that of the configuration, or the default before there is one. */
export function timingOf(state: ClusterState): LeaseTiming {
  return state.durable.config?.timing ?? LEASE_PROFILES.default;
}
