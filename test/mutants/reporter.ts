/** For `node --test-reporter`: one line of JSON for every test that has ended. */
import type { TestEvent } from 'node:test/reporters';

export interface Ended {
  readonly name: string;
  readonly ok: boolean;
  readonly skipped: boolean;
  readonly suite: boolean;
  /** Of a failure: `testCodeFailure`, or what kept it from being one. */
  readonly failure?: string;
  /** What was thrown. */
  readonly error?: string;
}

export default async function* report(events: AsyncIterable<TestEvent>): AsyncGenerator<string> {
  for await (const event of events) {
    if (event.type !== 'test:pass' && event.type !== 'test:fail') continue;
    const { name, details, skip } = event.data;
    const ended: Ended = {
      name,
      ok: event.type === 'test:pass',
      skipped: skip !== undefined && skip !== false,
      suite: details.type === 'suite',
      ...('error' in details ? failureOf(details.error) : {}),
    };
    yield `${JSON.stringify(ended)}\n`;
  }
}

function failureOf(error: Error & { failureType?: string }): Pick<Ended, 'failure' | 'error'> {
  const { cause } = error;
  const thrown = cause instanceof Error ? `${cause.name}: ${cause.message}` : String(cause ?? error.message);
  return { failure: error.failureType ?? 'unknown', error: thrown.slice(0, 2_000) };
}
