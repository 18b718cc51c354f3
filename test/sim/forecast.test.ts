/**
 * Forecasts from states that storms bring about. `HOLDFAST_FORECAST_SEED=n` replays one seed, `HOLDFAST_FORECAST_SEEDS=n` runs more.
 */
import { deepEqual, ok } from 'node:assert/strict';
import { test } from 'node:test';
import { simulationSchema } from '../../schemas/api.ts';
import { beginForecast, type ClusterState, type Forecast, type WhatIf } from '../../worker/decide/index.ts';
import { Random } from './random.ts';
import { watchStorm } from './storm.ts';

const MINUTES = 3;
const EVERY_MS = 1_700;
/** Three nodes and two groups never need more: far below where a forecast is ended for its size. */
const MOST_EVENTS = 6_000;
const only = process.env.HOLDFAST_FORECAST_SEED;
const seeds = Number(process.env.HOLDFAST_FORECAST_SEEDS ?? 24);

function someWhatIf(random: Random, state: ClusterState): WhatIf {
  const { config, nodes } = state.durable;
  const some = (chance: number) => Object.keys(nodes).filter(() => random.chance(chance));
  const groups = Object.entries(config?.groups ?? {});
  const fewer = groups.filter(() => random.chance(0.7)).map(([name, group]) => [name, moved(random, group)] as const);
  return {
    down: some(0.3),
    standby: some(0.15),
    coordinatorDown: random.chance(0.1),
    config: config !== null && random.chance(0.3) ? { ...config, groups: Object.fromEntries(fewer) } : null,
  };
}

function moved<T extends { on: readonly string[]; resources: readonly unknown[] }>(random: Random, group: T): T {
  return {
    ...group,
    on: random.chance(0.5) ? group.on.toReversed() : group.on,
    resources: group.resources.toReversed(),
  };
}

/** No group may be up on two nodes, at any moment of the forecast. */
function assertOneOwner(forecast: Forecast): void {
  const everywhere = [...forecast.holders().values()].flat();
  deepEqual(everywhere.toSorted(), [...new Set(everywhere)].toSorted(), 'two nodes have one group');
}

test('a forecast from any state ends, never shows two owners, leaves its state alone, and is the same again', (t) => {
  let forecasts = 0;
  let most = 0;
  const counts = new Map<string, number>();
  for (let seed = Number(only ?? 1); seed <= Number(only ?? seeds); seed++) {
    const random = new Random(seed + 5_000);
    watchStorm({ seed, stormMs: MINUTES * 60_000 }, EVERY_MS, (state, now) => {
      const whatIf = someWhatIf(random, state);
      const before = JSON.stringify(state);
      const told = () => `seed ${seed} at ${now}: ${JSON.stringify({ ...whatIf, config: whatIf.config?.groups })}`;
      const run = (watch: boolean) => {
        const begun = beginForecast(state, whatIf, now);
        ok('forecast' in begun, told());
        let events = 0;
        while (!begun.forecast.advance(1)) {
          events += 1;
          if (watch) assertOneOwner(begun.forecast);
          ok(events < MOST_EVENTS, `does not end: ${told()}`);
        }
        most = Math.max(most, events);
        return begun.forecast.result();
      };
      const simulation = simulationSchema.parse(run(true));
      forecasts += 1;
      ok(simulation.settled, `${told()}: ${simulation.warnings.join('; ')}`);
      for (const { how } of Object.values(simulation.groups)) counts.set(how, (counts.get(how) ?? 0) + 1);
      if (forecasts % 20 === 0) deepEqual(run(false), simulation, told());
      ok(JSON.stringify(state) === before, `the state was changed: ${told()}`);
    });
  }
  t.diagnostic(`${forecasts} forecasts, at most ${most} events: ${[...counts].map((one) => one.join(' ')).join(', ')}`);
});
