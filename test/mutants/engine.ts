/** The coordinator's shell: what leaves behind which write, and who may speak as a node. */
import type { Mutant } from './mutant.ts';

const FILE = 'worker/cluster/engine.ts';
const NONCES = 'worker/cluster/nonces.ts';
const AUTHENTICATION = 'worker/cluster/authentication.ts';
const TEST = 'worker/cluster/engine-guards.test.ts';

export const ENGINE: readonly Mutant[] = [
  {
    name: 'output-gate',
    rule: 'C',
    guard: 'an answer that grants or extends leaves only behind its durable write',
    file: FILE,
    find: `    this.#store(effects, pending.length > 0, extra);
    const at = now();
    for (const { report, verdicts, answer } of pending) answer(buildReply(this.#state, report, verdicts, at));
`,
    replace: `    const at = now();
    for (const { report, verdicts, answer } of pending) answer(buildReply(this.#state, report, verdicts, at));
    this.#store(effects, pending.length > 0, extra);
`,
    why: 'a grant that nobody remembers, and one to another node',
    check: [TEST, 'that grants leaves after the write that it rests on'],
  },
  {
    name: 'one-instance',
    rule: 'C5',
    guard: 'every renewal rests on a write, which an instance that was replaced cannot make',
    file: FILE,
    find: '    this.#store(effects, pending.length > 0, extra);',
    replace: '    this.#store(effects, pending.length < 0, extra);',
    why: 'an instance that was replaced keeps an owner alive whose epoch is over',
    check: [TEST, 'to a renewal that changes nothing durable rests on a write all the same'],
  },
  {
    name: 'one-instance/failed-write',
    rule: 'C5',
    guard: 'an instance whose write failed ends, and the next one reads what is on disk',
    file: FILE,
    find: `      this.#around.abandon(
        \`storage failed, reading it anew: \${error instanceof Error ? error.message : String(error)}\`,
      );
      throw error;`,
    replace: '      throw error;',
    why: 'what was decided and may not be on disk is built upon',
    check: [TEST, 'does not leave when the write failed, and the instance ends: what is on disk is not known'],
  },
  {
    name: 'clock-late/noticed',
    rule: 'clock',
    guard: 'an event long after the tick that was due is told to the decisions first',
    file: FILE,
    find: '    if (byMs > TICK_LATE_MS) this.#decide',
    replace: '    if (byMs < 0) this.#decide',
    why: 'a coordinator that stood still takes every owner for silent',
    check: [TEST, 'a tick that comes long after its time is told to the decisions before anything else'],
  },
  {
    name: 'signature',
    rule: 'transport: authenticity',
    guard: 'a request of an agent counts only with the signature of its node over all of it',
    file: AUTHENTICATION,
    find: '    if (!good || !isIncarnation(incarnation))\n',
    replace: '    if (!isIncarnation(incarnation))\n',
    why: 'whoever reaches the coordinator releases and renews in the name of every node',
    check: [TEST, 'is heard by its signature, and refused with any part of it changed'],
  },
  {
    name: 'signature/report',
    rule: 'transport: authenticity',
    guard: 'a report is of the node and the incarnation that signed it',
    file: 'worker/cluster/reports.ts',
    find: '  if (report.node !== sender.node || report.incarnation !== sender.incarnation) {',
    replace: "  if (report.node === '' && report.incarnation !== sender.incarnation) {",
    why: 'one member speaks in the name of another',
    check: [TEST, 'reports as the node and the incarnation that signed it'],
  },
  {
    name: 'replayed-request',
    rule: 'transport: replay',
    guard: 'a nonce is good once',
    file: NONCES,
    find: '    if (!this.isFresh(node, nonce)) return false;\n',
    replace: '',
    why: 'a recorded request is heard again',
    check: [TEST, 'is good once, also when a later one overtook it'],
  },
  {
    name: 'replayed-request/used',
    rule: 'transport: replay',
    guard: 'it is remembered which nonce was used',
    file: NONCES,
    find: '    this.#used.set(node, withUsed(this.#used.get(node) ?? NONE_USED, this.#number(nonce)));\n',
    replace: '',
    why: 'a recorded release is said again after the next grant',
    check: [TEST, 'is good once, also when a later one overtook it'],
  },
  {
    name: 'replayed-request/floor',
    rule: 'transport: replay',
    guard: 'what lies below the nonces that are remembered is stale',
    file: NONCES,
    find: '    return number > used.floor && !used.above.includes(number);\n',
    replace: '    return number > 0 && !used.above.includes(number);\n',
    why: 'a request recorded long ago is heard once its nonce is forgotten',
    check: [TEST, 'is stale below those that are remembered'],
  },
  {
    name: 'replayed-request/instance',
    rule: 'transport: replay',
    guard: 'a nonce is good only with the instance that gave it out',
    file: NONCES,
    find: '    if (!nonce.startsWith(prefix) || !/^[1-9]\\d{0,15}$/.test(digits)) return 0;\n',
    replace: '    if (!/^[1-9]\\d{0,15}$/.test(digits)) return 0;\n',
    why: 'what was recorded before a restart is heard after it',
    check: [TEST, 'is good with the instance that gave it out, and not before it did'],
  },
];
