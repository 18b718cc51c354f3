/**
 * For the tests: an agent in a process of its own, which the guard may kill. Reads calls as JSON lines
 * (`{"method":"arm","args":[…]}`), makes them on a GuardClient and prints one result per line.
 */
import { createInterface } from 'node:readline';
import { GuardClient, GuardError, type GuardLease, type GuardVoters } from './index.ts';

const [stateDir = '', program = ''] = process.argv.slice(2);
const guard = await GuardClient.connect(stateDir, {
  ...(program !== '' && { spawn: program }),
  onLost: () => process.exit(9),
});

const verbs = {
  hello: () => guard.hello(),
  arm: (lease: GuardLease, voters: GuardVoters = { version: 1, names: [] }) => guard.arm(lease, voters),
  promise: guard.promise.bind(guard),
  pet: guard.pet.bind(guard),
  hold: guard.hold.bind(guard),
  unhold: guard.unhold.bind(guard),
  disarm: guard.disarm.bind(guard),
  note: guard.note.bind(guard),
  setReset: guard.setReset.bind(guard),
  setIncarnation: guard.setIncarnation.bind(guard),
} as const satisfies Record<string, (...args: never[]) => Promise<unknown>>;

export type Verb = keyof typeof verbs;

for await (const line of createInterface({ input: process.stdin })) {
  const { method, args } = JSON.parse(line) as { method: Verb; args: never[] };
  try {
    const value = await (verbs[method] as (...args: never[]) => Promise<unknown>)(...args);
    console.log(JSON.stringify({ value: value ?? null }));
  } catch (error) {
    const code = error instanceof GuardError ? error.code : String(error);
    console.log(JSON.stringify({ code, message: String(error) }));
  }
}
