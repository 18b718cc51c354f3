/**
 * What a coordinator that was taken over can make a node do: nothing that the policy of the node does not allow. A real agent, its transport,
 * keeper, policy, groups and resources; the machine below it is one on paper (machine-testing.ts), and what is allowed is judged by a second
 * reading of the policy (allowed-testing.ts).
 *
 * HOLDFAST_FUZZ says how many answers it is given, HOLDFAST_FUZZ_SEED which.
 */
import { deepEqual, equal, ok } from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import { downMessageSchema } from '../../schemas/wire.ts';
import { guardTrouble, POLICY, trouble } from './allowed-testing.ts';
import { type Answer, answers, textOfAnswer } from './answers-testing.ts';
import { AgentLoop } from './loop.ts';
import { FakeGuard, identityAt } from './loop-testing.ts';
import { type Noted, PaperMachine, programOf } from './machine-testing.ts';
import { SocketCoordinator } from './socket-testing.ts';

const ANSWERS = Number(process.env.HOLDFAST_FUZZ ?? 10_000);
const SEED = Number(process.env.HOLDFAST_FUZZ_SEED ?? 20_261_129);
/** To one report. */
const AT_ONCE = 10;
/** Made at once: nothing else has its turn meanwhile, and the guard is waited for two seconds. */
const CHUNK = 25;
/** The highest epoch of `web` that the node has on its disk when it starts. */
const SEEN = 40;
/** As long as nothing is begun for so long, nothing is under way. */
const QUIET_MS = 700;
const STALLED_MS = 20_000;

/** What was done, by kind, and what should not have been. */
class Record_ {
  readonly counts = new Map<string, number>();
  readonly troubles: string[] = [];
  readonly #stateDir: string;
  /** By group: the highest epoch that the guard was armed with, and whether it is armed now. */
  readonly #epochs = new Map<string, { epoch: number; armed: boolean }>([['web', { epoch: SEEN, armed: false }]]);
  lastMs = performance.now();

  constructor(stateDir: string) {
    this.#stateDir = stateDir;
  }

  count(what: string, by = 1): void {
    this.counts.set(what, (this.counts.get(what) ?? 0) + by);
  }

  machine(noted: Noted): void {
    this.lastMs = performance.now();
    const found = trouble(noted, this.#stateDir);
    if (found !== undefined) this.troubles.push(`${found}: ${JSON.stringify(noted)}`);
    if (noted.kind === 'systemd') this.count(noted.call.member);
    if (noted.kind !== 'run') return;
    const [program = '', ...args] = programOf(noted.argv);
    const name = program.split('/').at(-1) ?? '';
    this.count('programs');
    const verb = name === 'ip' ? args.find((word) => /^(?:show|add|delete|monitor)$/.test(word)) : args[0];
    this.count(`${name} ${name === 'mount' ? '' : verb}`.trim());
    // a start runs in the cgroup of its resource, below that of its group
    const group = /\/holdfast-groups\/([^/]+)\//.exec(noted.argv[4] ?? '')?.[1] ?? '';
    if (args.length === 1 && args[0] === 'start' && this.#epochs.get(group)?.armed !== true)
      this.troubles.push(`${group} has no lease: ${JSON.stringify(noted.argv)}`);
  }

  guard(line: string): void {
    const found = guardTrouble(line);
    if (found !== undefined) this.troubles.push(`to the guard: ${found}`);
    const [verb = '', group = '', text] = line.split(' ');
    const known = this.#epochs.get(group);
    if (verb === 'disarm' && known !== undefined) known.armed = false;
    if (verb !== 'arm') return;
    const epoch = Number(text);
    const again = known?.epoch === epoch && known.armed;
    if (!again && known !== undefined && epoch <= known.epoch)
      this.troubles.push(`${group} is run in epoch ${epoch} after ${known.epoch}`);
    if (!again) this.count('leases');
    this.#epochs.set(group, { epoch, armed: true });
  }
}

test('whatever the coordinator answers, nothing is executed that the policy does not allow, and no epoch goes back', async (t) => {
  const [dir, root] = ['hf-taken-', 'hf-paper-'].map((prefix) => mkdtempSync(join(tmpdir(), prefix))) as [
    string,
    string,
  ];
  writeFileSync(join(dir, 'policy.yaml'), POLICY, { mode: 0o600 });
  writeFileSync(join(dir, 'epochs.json'), JSON.stringify({ history: 'h1', epochs: { web: SEEN } }), { mode: 0o600 });
  const record = new Record_(dir);
  const [guard, coordinator] = await Promise.all([FakeGuard.listen(dir), SocketCoordinator.listen()]);
  // one that is found alive, so that there is no quarantine to wait for
  guard.state = ['incarnation alice-1'];
  guard.onLine = (line) => record.guard(line);
  const machine = await PaperMachine.install(root, (noted) => record.machine(noted));

  const { promise: done, resolve: finish, reject: fail } = Promise.withResolvers<void>();
  const epochs = new Map<string, number>();
  let sent = 0;
  let revision = 10;
  let waiting: Answer[] = [];
  const next = (): Answer | undefined => {
    if (waiting.length === 0) waiting = fc.sample(answers, { numRuns: CHUNK, seed: SEED + sent });
    return waiting.pop();
  };
  let stalled: NodeJS.Timeout | undefined;
  coordinator.onReport = (report, say) => {
    clearTimeout(stalled);
    stalled = setTimeout(
      () => fail(new Error(`the agent reports no more after ${sent} answers: ${warnings.slice(-5).join(' | ')}`)),
      STALLED_MS,
    );
    record.count('reports');
    record.count('refusals', report.refusals?.length ?? 0);
    for (const { state } of report.groups ?? []) record.count(`group ${state}`);
    if (sent >= ANSWERS || record.troubles.length > 0) finish();
    for (let one = 0; one < AT_ONCE && sent < ANSWERS; one++) {
      const answer = next();
      if (answer === undefined) break;
      const text = textOfAnswer(answer, { report, epochs, revision: ++revision });
      sent += 1;
      if (isMessage(text)) record.count('messages of the protocol');
      say(text);
    }
    say('{"type":"nudge"}');
  };

  const warnings: string[] = [];
  const log = { info: () => undefined, warn: (line: string) => void warnings.push(line) };
  const options = {
    stateDir: dir,
    guardPath: '/nowhere',
    version: '0.0.0',
    identity: identityAt(coordinator.url),
    log,
  };
  const started = performance.now();
  const loop = await AgentLoop.start(options);
  try {
    const end = await Promise.race([done, loop.ended]);
    equal(end, undefined, 'the agent goes on');
  } finally {
    clearTimeout(stalled);
    loop.leave();
    coordinator.end();
    // while anything is under way the machine must stay on paper
    while (performance.now() - record.lastMs < QUIET_MS) await new Promise((resolve) => setTimeout(resolve, 50));
    guard.end();
    machine.remove();
    for (const directory of [dir, root]) rmSync(directory, { recursive: true, force: true });
  }

  deepEqual(record.troubles.slice(0, 5), []);
  deepEqual(warnings.filter((line) => /internal error|TypeError|RangeError/.test(line)).slice(0, 5), []);
  const counted = [...record.counts]
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([what, count]) => `${what} ${count}`);
  t.diagnostic(
    `${sent} answers in ${((performance.now() - started) / 1_000).toFixed(1)} s, seed ${SEED}: ${counted.join(', ')}`,
  );
  // without these it would prove nothing; how many there are depends on the machine
  const least = (what: string, count: number) =>
    ok((record.counts.get(what) ?? 0) >= count, `too little of ${what}: ${counted.join(', ')}`);
  least('messages of the protocol', sent / 2);
  for (const what of ['leases', 'refusals', 'group running']) least(what, 10);
  const starts = ['ip add', 'paper start', 'mount', 'drbdadm primary', 'StartUnit'];
  const begun = starts.filter((what) => record.counts.has(what));
  ok(begun.length >= 4, `too few kinds of resources were started: ${counted.join(', ')}`);
});

function isMessage(text: string): boolean {
  try {
    return downMessageSchema.safeParse(JSON.parse(text)).success;
  } catch {
    return false; // no JSON at all
  }
}
