import { deepEqual, equal, ok } from 'node:assert/strict';
import { describe, test } from 'node:test';
import { agentEventSchema } from '../../schemas/events.ts';
import { MAX_DETAIL_LENGTH, MAX_EVENTS_PER_REPORT, MAX_QUEUED_EVENTS } from '../../schemas/limits.ts';
import { Journal, type JournalEntry } from './journal.ts';

const failed = (detail: string): JournalEntry => ({ kind: 'resource.failed', severity: 'error', group: 'db', detail });

function told(journal: Journal): string[] {
  const details: string[] = [];
  while (journal.pending > 0) {
    const events = journal.next();
    ok(events.length > 0 && events.length <= MAX_EVENTS_PER_REPORT);
    details.push(...events.map(({ detail }) => detail));
    journal.acknowledge(events.map(({ id }) => id));
  }
  return details;
}

describe('events on their way to the coordinator', () => {
  test('are told again until they are acknowledged, each with how long ago it was', () => {
    let now = 1_000;
    const journal = new Journal(() => now);
    journal.add(failed('it died'));
    now += 250;
    const [first] = journal.next();
    const [again] = journal.next();
    equal(first?.agoMs, 250);
    deepEqual(again, first);
    journal.acknowledge([first?.id ?? '']);
    deepEqual(journal.next(), []);
  });

  test('that are too many lose the oldest, and how many were lost is itself told', () => {
    const journal = new Journal(() => 0);
    for (let n = 1; n <= MAX_QUEUED_EVENTS + 3; n++) journal.add(failed(`${n}`));
    const details = told(journal);
    equal(details[0], '4');
    deepEqual(details.slice(-2), [
      `${MAX_QUEUED_EVENTS + 3}`,
      '3 older events were dropped while the coordinator was away',
    ]);
  });

  test('are cut to what a report may hold, and large ones go in several', () => {
    const journal = new Journal(() => 0);
    for (let n = 0; n < 40; n++) journal.add(failed('x'.repeat(MAX_DETAIL_LENGTH + n)));
    const events = journal.next();
    ok(events.length < 40, `${events.length} at once`);
    for (const event of events) agentEventSchema.parse(event);
    equal(told(journal).length, 40);
  });
});
