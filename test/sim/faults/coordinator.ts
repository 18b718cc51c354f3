/** What goes wrong where the coordinator runs. */
import type { Kinds } from './faults.ts';

/** It comes back at once, again and again: an object that hibernates and is woken. */
const WAKES = 4;

export const COORDINATOR_FAULTS: Kinds = {
  'coordinator-restart': (faults) => {
    const { coordinator } = faults.cluster;
    faults.lasting(
      200,
      () => coordinator.crash(),
      () => coordinator.begin(),
    );
  },
  'coordinator-wakes': (faults) => {
    const { coordinator } = faults.cluster;
    for (let wake = 0; wake < WAKES; wake++)
      faults.later(2_000, () => {
        coordinator.crash();
        coordinator.begin();
      });
  },
  'coordinator-outage': (faults) => {
    const { coordinator } = faults.cluster;
    faults.lasting(
      12_000,
      () => coordinator.crash(),
      () => coordinator.begin(),
    );
  },
  'stale-instance': (faults) => {
    const { cluster, random } = faults;
    faults.lasting(
      4_000,
      () => {
        cluster.coordinator.replace();
        for (const host of cluster.hosts) if (random.chance(0.5)) cluster.staleFor.add(host.name);
      },
      () => {
        cluster.staleFor.clear();
        cluster.coordinator.endStale();
      },
    );
  },
  'clock-forward': ({ cluster, random }) => cluster.coordinator.stepClock(random.exponential(30_000)),
  'clock-back': ({ cluster, random }) => cluster.coordinator.stepClock(-random.exponential(30_000)),
  'alarm-late': (faults) => {
    const { coordinator } = faults.cluster;
    const lateMs = faults.random.pick([500, 5_000, 30_000]);
    faults.lasting(
      20_000,
      () => {
        coordinator.timersLateMs = lateMs;
      },
      () => {
        coordinator.timersLateMs = 0;
        // what was still to come late comes now
        coordinator.alarm();
      },
    );
  },
  'alarm-twice': (faults) => {
    for (let again = 0; again < 3; again++) faults.later(1_000, () => faults.cluster.coordinator.alarm());
  },
  'slow-storage': (faults) => {
    const { coordinator } = faults.cluster;
    faults.lasting(
      10_000,
      () => {
        coordinator.slowDiskMs = 1_500;
      },
      () => {
        coordinator.slowDiskMs = 0;
      },
    );
  },
  'storage-fails': ({ cluster }) => {
    cluster.coordinator.writeFails = true;
  },
};

/** Beyond what the protocol covers (docs/simulator.md): only by name. */
export const UNCOVERED_COORDINATOR_FAULTS: Kinds = {
  'restore-older-copy': ({ cluster, random }) => cluster.coordinator.restore(random.exponential(30_000)),
};
