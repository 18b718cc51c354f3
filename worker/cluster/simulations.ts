/** Simulations of a cluster, in turns between whatever else its object has to do. */
import type { Simulation } from '../../schemas/api.ts';
import { beginForecast, type ClusterState, type WhatIf } from '../decide/index.ts';
import { now } from './clock.ts';
import { done, type Result } from './result.ts';

/**
 * A simulation runs in the object's own thread, which renewals need: so many of its events in a turn, then whatever has arrived
 * meanwhile. One event is a report decided and answered, 1 to 2 ms in the largest cluster (200 groups on 16 nodes). Measured there on two
 * busy cores: 0.5 s for the whole simulation, and a renewal during it is answered in 15 ms (median; at most 57 ms) instead of 8 ms
 * (46 ms). Hundreds of rules between the groups make each event dearer: up to 16 s were seen for the whole, in turns of 0.1 to 0.2 s. The
 * tightest lease (`fast`) has 350 ms of room for that. simulate.test.ts repeats the first measurement.
 */
const SIMULATED_EVENTS_PER_TURN = 2;
/** Several at once would take their turns together, and renewals would wait for all of them. One that had none for so long is gone. */
const SIMULATION_GONE_MS = 5_000;

/** Lets everything run that has arrived meanwhile. */
function nextTurn(): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, 0);
  });
}

export class Simulations {
  /** When the one that is under way had its last turn. */
  #simulatedAt = 0;

  /** What would happen to this state if …; nothing is stored or changed. */
  async run(state: ClusterState, whatIf: WhatIf): Promise<Result<Simulation>> {
    if (Math.abs(now() - this.#simulatedAt) < SIMULATION_GONE_MS) {
      const detail = 'another simulation of this cluster is running; ask again when it has ended';
      return { ok: false, problem: { code: 'not-possible', detail } };
    }
    const begun = beginForecast(state, whatIf, now());
    if ('refused' in begun) return { ok: false, problem: begun.refused };
    try {
      while (!begun.forecast.advance(SIMULATED_EVENTS_PER_TURN)) {
        this.#simulatedAt = now();
        await nextTurn();
      }
      return done(begun.forecast.result());
    } finally {
      this.#simulatedAt = 0;
    }
  }
}
