// biome-ignore-all lint/suspicious/noTemplateCurlyInString: source text is quoted here
/** The agent around its lease keeper: what it runs at all, and the order of disk, guard and groups from a grant to a release. */
import type { Mutant } from './mutant.ts';

const FUSE = 'node-agent/agent/fuse.ts';
const EFFECTS = 'node-agent/agent/effects.ts';
const GROUP = 'node-agent/agent/group.ts';
const FUSE_TEST = 'node-agent/agent/fuse.test.ts';
const FUSE_GUARDS = 'node-agent/agent/fuse-guards.test.ts';
const LOOP_TEST = 'node-agent/agent/loop-guards.test.ts';
const GROUP_TEST = 'node-agent/agent/group-guards.test.ts';

const TAKEN_OVER: Mutant['check'] = [
  'node-agent/agent/taken-over.test.ts',
  'whatever the coordinator answers, nothing is executed that the policy does not allow, and no epoch goes back',
];
const FUZZED = 'the test takes 20 s without it as well';

export const AGENT: readonly Mutant[] = [
  {
    name: 'policy/asked',
    rule: 'policy',
    guard: 'what the policy of the node refuses is not run',
    file: 'node-agent/agent/plan.ts',
    find: '    if (!verdict.allowed) {\n',
    replace: '    if (!verdict.allowed && declared.id === "") {\n',
    why: 'whoever has the coordinator runs what he likes as root on every node',
    check: TAKEN_OVER,
    slow: FUZZED,
  },
  {
    name: 'policy/parameters',
    rule: 'policy',
    guard: 'an agent is given no parameter that the policy does not list',
    file: 'node-agent/agent/policy.ts',
    find: '      if (problem !== undefined) return problem;\n',
    replace: '      problem satisfies unknown;\n',
    why: 'the parameters of an agent are as good as a command line',
    check: TAKEN_OVER,
    slow: FUZZED,
  },
  {
    name: 'arm-first/disk',
    rule: 'P2, O4',
    guard: 'the fuse is armed when the epoch is on disk',
    file: FUSE,
    find: '    await persisted;\n',
    replace: '    persisted.catch(() => undefined);\n',
    why: 'a node runs in an epoch that it has forgotten after a power cut',
    check: [FUSE_TEST, 'nothing starts before the fuse is armed, and not at all when the disk failed'],
  },
  {
    name: 'arm-first/on-disk',
    rule: 'P2, O4',
    guard: 'what the fuse waits for is the write of this epoch',
    file: EFFECTS,
    find: 'this.#fuse.arm(effect, again ? Promise.resolve() : this.#seen.saved, stillHeld);',
    replace: 'this.#fuse.arm(effect, Promise.resolve(), stillHeld);',
    why: 'a node runs in an epoch that it has forgotten after a power cut',
    check: [LOOP_TEST, 'that cannot be written to disk is neither armed nor started, and is given back'],
  },
  {
    name: 'arm-first/start',
    rule: 'O4',
    guard: 'the group starts when the guard has answered that it is armed',
    file: EFFECTS,
    find: `    this.#fuse.armed(group).then(
      () => {
        if (this.#runs(group, epoch))`,
    replace: `    Promise.resolve().then(
      () => {
        if (this.#runs(group, epoch))`,
    why: 'an agent paused between decision and start goes on long after its lease has ended',
    check: [LOOP_TEST, 'is on disk before the guard is asked, and the group starts when that has answered'],
  },
  {
    name: 'arm-first/cgroup',
    rule: 'O4',
    guard: 'the group starts when the guard knows its cgroup',
    file: FUSE,
    find: '      throw error;\n    }\n    await this.#holdCgroup(effect.group, cgroups);\n',
    replace:
      '      throw error;\n    }\n    if (cgroups === undefined) await this.#holdCgroup(effect.group, cgroups);\n',
    why: 'what the group runs outlives the fuse',
    check: [FUSE_GUARDS, 'the cgroup of a group is known to the guard before the group may start'],
  },
  {
    name: 'hold-first',
    rule: 'O4',
    guard: 'what a start makes exclusive is known to the guard before it begins',
    file: GROUP,
    find: '    return held.ok ? start() : held;',
    replace: '    return held.ok || !held.ok ? start() : held;',
    why: 'an address stays up of which the guard knows nothing',
    check: [GROUP_TEST, 'nothing is started that the guard does not take'],
  },
  {
    name: 'hold-first/order',
    rule: 'O4',
    guard: 'what a start makes exclusive is registered before it, not after',
    file: GROUP,
    find: `    const held = await this.#hold(resource);
    return held.ok ? start() : held;`,
    replace: `    const started = await start();
    const held = await this.#hold(resource);
    return held.ok ? started : held;`,
    why: 'an agent that is paused in between leaves an address up of which the guard knows nothing',
    check: [GROUP_TEST, 'what a start makes exclusive is known to the guard before it begins'],
  },
  {
    name: 'hold-first/found',
    rule: 'O4',
    guard: 'what already runs is taken up only when the guard knows of it',
    file: GROUP,
    find: "      if (!held.ok) return { state: 'failed', severity: held.severity, reason: held.reason };\n",
    replace: '',
    why: 'an address stays up of which the guard knows nothing',
    check: [GROUP_TEST, 'what already runs is taken up under a lease only when the guard knows of it'],
  },
  {
    name: 'read-back',
    rule: 'O3, O5',
    guard: 'a stop is believed only when the guard too finds nothing left',
    file: GROUP,
    find: "      if (error instanceof GuardError && error.code === 'held')\n",
    replace: "      if (error instanceof GuardError && error.code === 'syntax')\n",
    why: 'an exit code is taken for proof',
    check: [GROUP_TEST, 'a stop is believed when the guard finds nothing left; otherwise it is forced'],
  },
  {
    name: 'one-action',
    rule: 'O3',
    guard: 'a stop waits for the end of the start that was called off',
    file: GROUP,
    find: '    slot.queue = slot.queue.then(async () => {',
    replace: '    slot.queue = Promise.resolve().then(async () => {',
    why: 'a start that ends after the stop puts back what was taken away',
    check: [GROUP_TEST, 'a stop waits for the end of the start that was called off'],
  },
  {
    name: 'unprotected/pet',
    rule: 'O4',
    guard: 'a pet that the guard refuses costs the lease',
    file: EFFECTS,
    find: "      this.#decide({ type: 'unprotected', group: effect.group, why: 'its fuse could not be petted' });\n",
    replace: '',
    why: 'the agent counts on a fuse that is about to fire',
    check: [LOOP_TEST, 'costs the lease'],
  },
  {
    name: 'release-closing/shell',
    rule: 'O5',
    guard: 'the keeper hears of a release before the guard is asked to forget',
    file: EFFECTS,
    find: "      this.#decide({ type: 'closing', group: name });\n",
    replace: '',
    why: 'a group whose fuse was still being armed starts in the middle of its release',
    check: [LOOP_TEST, 'that is being given back while the guard arms it is not started any more'],
  },
  {
    name: 'release-closing/arm',
    rule: 'O5',
    guard: 'what is being given back is not armed any more',
    file: FUSE,
    find: `    if (!stillHeld() || this.#closing.has(effect.group))
      throw`,
    replace: `    if (!stillHeld() && effect.epoch < 0)
      throw`,
    why: 'the next agent finds a lease armed that was given back, and takes it up again',
    check: [FUSE_TEST, 'a lease that was given back while its epoch was being written is never armed, nor petted'],
  },
  {
    name: 'release-closing/pet',
    rule: 'O5',
    guard: 'what is being given back is not petted any more',
    file: FUSE,
    find: '    if (!stillHeld() || this.#closing.has(effect.group)) return false;\n',
    replace: '',
    why: 'the fuse of a lease that was given back is moved',
    check: [FUSE_GUARDS, 'a lease that is being given back, or is not held any more, is not petted'],
  },
  {
    name: 'release-stopped',
    rule: 'O5, 0009',
    guard: 'a lease is given back only when the guard has forgotten it, which it does when nothing of it is held',
    file: EFFECTS,
    find: `      if (closing.is === 'held') {
        this.#groups.stuck(name, closing.what);
        this.onStuck(name);
        return;
      }
`,
    replace: '',
    why: 'the next owner starts while an address is still here',
    check: [LOOP_TEST, 'is not told while the guard still finds something held'],
  },
  {
    name: 'release-stopped/told',
    rule: 'O5, 0009',
    guard: 'what the guard still finds after three looks counts as held',
    file: FUSE,
    find: `        if (attempt === 2)
          return { is: 'held', what: \`the guard finds something held after everything was stopped: \${error.message}\` };`,
    replace: "        if (attempt === 2) return { is: 'closed' };",
    why: 'the next owner starts while an address is still here',
    check: [
      FUSE_TEST,
      'what the guard still finds is ended by force and looked at again; what cannot be ended keeps the lease',
    ],
  },
  {
    name: 'disarm-first',
    rule: '0009',
    guard: 'a lease is not given back before the guard has answered',
    file: EFFECTS,
    find: '      const closing = await this.#fuse.close(name, epoch);',
    replace:
      "      const closing = (void this.#fuse.close(name, epoch), { is: 'closed' }) as Awaited<ReturnType<Fuse['close']>>;",
    why: 'the next agent finds a lease armed that was given back, and takes it up again',
    check: [LOOP_TEST, 'is told when the guard has forgotten the lease, which is renewed until then'],
  },
  {
    name: 'disarm-first/unsure',
    rule: '0009',
    guard: 'a lease is not given back when the guard’s answer cannot be relied on',
    file: EFFECTS,
    find: `        this.#log.warn(\`\${name}: not given back, because the guard does not answer: \${closing.why}\`);
        this.#onSettled();
        return;`,
    replace: '        this.#log.warn(`${name}: given back, although the guard does not answer: ${closing.why}`);',
    why: 'the next agent finds a lease armed that was given back, and takes it up again',
    check: [LOOP_TEST, 'is not told when the guard gives no answer that can be relied on'],
  },
  {
    name: 'disarm-first/proven',
    rule: '0009',
    guard: 'a connection that ended does not prove the guard dead',
    file: FUSE,
    find: '    return identity === undefined || processIdentity(pid) !== identity;',
    replace: '    return identity !== undefined || processIdentity(pid) !== identity;',
    why: 'the next agent finds a lease armed that was given back, and takes it up again',
    check: [
      FUSE_TEST,
      'a guard that does not answer may still have the lease armed: nothing is given back unless its process is gone',
    ],
  },
  {
    name: 'confirm/kept',
    rule: 'C6',
    guard: 'the keeper hears that epoch and lease are kept when the guard has answered',
    file: EFFECTS,
    find: `    this.#fuse.armed(group).then(
      () => this.#decide({ type: 'kept'`,
    replace: `    Promise.resolve().then(
      () => this.#decide({ type: 'kept'`,
    why: 'the coordinator builds on an epoch that its owner may still forget',
    check: [LOOP_TEST, 'is on disk before the guard is asked, and the group starts when that has answered'],
  },
];
