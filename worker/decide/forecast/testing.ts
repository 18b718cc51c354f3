/** For the tests beside this file: a cluster that is asked what would become of it. */
import { deepEqual, ok } from 'node:assert/strict';
import { type Simulation, simulationSchema } from '../../../schemas/api.ts';
import type { Config } from '../../../schemas/config.ts';
import type { ResourceReport } from '../../../schemas/wire.ts';
import type { ClusterState } from '../state.ts';
import { Desk } from '../testing.ts';
import { beginForecast, type WhatIf } from './index.ts';

/** Nothing happens. */
export const nothing: WhatIf = { down: [], standby: [], coordinatorDown: false, config: null };
/** The start of `db`’s address was measured: 700 ms. */
export const measured: ResourceReport[] = [{ id: 'ip', state: 'running', startMs: 700 }];

/** The forecast of this, which comes to an end and leaves the desk as it was. */
export function simulate(desk: Desk, whatIf: Partial<WhatIf>): Simulation {
  const before: ClusterState = structuredClone(desk.state);
  const begun = beginForecast(desk.state, { ...nothing, ...whatIf }, desk.now);
  ok('forecast' in begun, JSON.stringify(begun));
  while (!begun.forecast.advance(10));
  deepEqual(desk.state, before, 'the state it starts from is never changed');
  const simulation = simulationSchema.parse(begun.forecast.result());
  ok(simulation.settled, simulation.warnings.join('; '));
  return simulation;
}

/** alice, bob and carol are alive; `db` runs on alice, its starts measured. */
export function running(wanted?: Config): Desk {
  const desk = new Desk(wanted);
  const epoch = desk.runsOn('alice');
  desk.renews('alice', epoch, { groups: [{ group: 'db', epoch, state: 'running', forMs: 0, resources: measured }] });
  for (const node of ['bob', 'carol']) desk.hears(node);
  return desk;
}

/** What becomes of `db`. */
export function db(simulation: Simulation) {
  const group = simulation.groups.db;
  ok(group !== undefined);
  return group;
}

/** Where a node listens for its peers. */
export const endpoint = { addresses: ['198.51.100.1'], port: 7480, key: 'A'.repeat(43) };

/** As `running`, and for some time: every node listens for its peers, and alice says whether the other voters have promised. */
export function promised(backed: boolean, wanted?: Config): Desk {
  const desk = running(wanted);
  for (let second = 0; second < 6; second++) {
    desk.passes(1_000);
    for (const node of ['bob', 'carol']) desk.hears(node, { endpoint });
    desk.renews('alice', desk.lease().epoch, {
      endpoint,
      leases: [{ group: 'db', epoch: desk.lease().epoch, voters: desk.lease().voters.version, backed }],
    });
  }
  return desk;
}
