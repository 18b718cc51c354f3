/** What the lease keeper has to tell a person: at once in the log, and in the cluster's events when the coordinator hears of it. */
import type { Log } from '../system/index.ts';
import type { Journal } from './journal.ts';
import type { KeepEffect } from './keep.ts';

export type Told = Extract<KeepEffect, { kind: 'alone' | 'lost' | 'refused' | 'reconnected' }>;

export class Telling {
  readonly #journal: Journal;
  readonly #log: Log;
  /** Refusals come with every report; each is told once. */
  #lastProblem = '';

  constructor(journal: Journal, log: Log) {
    this.#journal = journal;
    this.#log = log;
  }

  tell(told: Told): void {
    switch (told.kind) {
      case 'alone': {
        const { group, epoch } = told;
        const detail = `the coordinator does not answer; the group goes on by ${promisesOf(told.by)}`;
        this.#log.warn(`${group}: ${detail}`);
        this.#journal.add({ kind: 'agent.lives-on-promises', severity: 'warning', group, epoch, detail });
        return;
      }
      case 'lost': {
        const { group, epoch, why } = told;
        this.#log.warn(`${group}: lease of epoch ${epoch} lost: ${why}`);
        this.#journal.add({ kind: 'agent.lease-lost', severity: 'error', group, epoch, detail: why });
        return;
      }
      case 'refused':
        if (this.#lastProblem !== told.code)
          this.#log.warn(`the coordinator refuses this agent (${told.code}): ${told.detail}`);
        this.#lastProblem = told.code;
        return;
      case 'reconnected':
        this.#lastProblem = '';
        this.#journal.add({
          kind: 'agent.coordinator-reachable',
          severity: 'warning',
          detail: `the coordinator had not answered for ${told.awayMs} ms`,
        });
        return;
      default:
        told satisfies never;
    }
  }
}

function promisesOf(nodes: readonly string[]): string {
  return nodes.length === 0 ? 'itself: no other node may take it over' : `the promises of ${nodes.join(', ')}`;
}
