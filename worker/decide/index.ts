/**
 * The coordinator's decisions, pure: `(state, event, now) → {state, effects}`. Shared by the Durable Object, `why`, `plan` and
 * the simulator.
 */
export { decide, emptyState, nextTick, restart } from './decide.ts';
export { statusOf, whyOf } from './explain.ts';
export { beginForecast, type Forecast, type WhatIf } from './forecast/index.ts';
export { planChange } from './plan.ts';
export { buildReply, newestRenewals } from './reply.ts';
export type * from './state.ts';
