/** What the agent says or does only when it is on disk or in the guard. */
import type { Mutant } from './mutant.ts';

const FUSE = 'node-agent/agent/fuse.ts';
const EFFECTS = 'node-agent/agent/effects.ts';
const BEGINNING = 'node-agent/agent/beginning.ts';
const SEEN = 'node-agent/agent/seen-epochs.ts';
const FILES = 'node-agent/system/files.ts';
const LOOP_TEST = 'node-agent/agent/loop-guards.test.ts';
const FILES_TEST = 'node-agent/system/files-durable.test.ts';

export const DURABLE: readonly Mutant[] = [
  {
    name: 'guard-keeps-promise',
    rule: 'P1, guard',
    file: EFFECTS,
    find: 'Promise.all([this.#seen.onDisk(this.#keep), ...noted]).then(',
    replace: 'Promise.all([this.#seen.onDisk(this.#keep), ...noted.slice(0, 0)]).then(',
    why: 'the next agent knows nothing of the promise and starts',
    check: [LOOP_TEST, 'is answered when its epoch is on disk and the guard has it'],
  },
  {
    name: 'guard-keeps-promise/told',
    rule: 'P1, guard',
    guard: 'every promise is told to the guard',
    file: FUSE,
    find: '    return this.#options.guard.promise({ group, epoch, owner, untilMs });',
    replace:
      '    return group === owner ? this.#options.guard.promise({ group, epoch, owner, untilMs }) : Promise.resolve();',
    why: 'the next agent knows nothing of the promise and starts',
    check: [LOOP_TEST, 'is answered when its epoch is on disk and the guard has it'],
  },
  {
    name: 'guard-keeps-promise/found',
    rule: 'P1, guard',
    guard: 'an agent that starts keeps the promises that the guard remembers',
    file: BEGINNING,
    find: 'promises: Object.fromEntries(found.promises),',
    replace: 'promises: {},',
    why: 'an agent that was killed and started again claims what it has promised to keep out of',
    check: [LOOP_TEST, 'with a guard that remembers a promise keeps out, and says so'],
  },
  {
    name: 'highest-durable/answer',
    rule: 'P1',
    guard: 'a promise is answered only when its epoch is on disk',
    file: EFFECTS,
    find: 'Promise.all([this.#seen.onDisk(this.#keep), ...noted]).then(',
    replace: 'Promise.all([...noted]).then(',
    why: 'a voter reboots, forgets the epoch and promises to the owner before it',
    check: [LOOP_TEST, 'is not answered when its epoch cannot be written'],
  },
  {
    name: 'highest-durable/written',
    rule: 'P1',
    guard: 'what could not be written is tried again, and not answered until it is',
    file: SEEN,
    find: `      this.save(persisted(newest()));
      await this.#saved;`,
    replace: '      this.save(persisted(newest()));',
    why: 'a voter reboots, forgets the epoch and promises to the owner before it',
    check: [LOOP_TEST, 'is not answered when its epoch cannot be written'],
  },
  {
    name: 'promise-refused',
    rule: 'P1',
    guard: 'where disk or guard fail nothing is answered',
    file: EFFECTS,
    find: '        this.#lan.answer(to, id, undefined);\n',
    replace: '        this.#lan.answer(to, id, { promised, refused });\n',
    why: 'an owner counts on a promise that nobody keeps',
    check: [LOOP_TEST, 'is not answered when the guard refuses it'],
  },
  {
    name: 'highest-durable/saved',
    rule: 'P1, P2',
    guard: 'what the keeper has made durable is written before anything that follows',
    file: EFFECTS,
    find: '          this.#seen.save(effect);\n',
    replace: '',
    why: 'a node reboots, forgets its epoch and promises to the owner before it',
    check: [LOOP_TEST, 'is answered when its epoch is on disk and the guard has it'],
  },
  {
    name: 'highest-durable/shared-write',
    rule: 'P1, P2',
    guard: 'whoever shares a write finds his own epoch in it',
    file: 'node-agent/agent/state-file.ts',
    find: '      this.#next.epochs = epochs;\n',
    replace: '',
    why: 'of many groups that come at once all but the first are acted upon and forgotten',
    check: ['node-agent/agent/state-file-guards.test.ts', 'epochs that share a write are all in it'],
  },
  {
    name: 'highest-durable/sync',
    rule: 'P1, P2',
    guard: 'what is said to be on disk has been synced',
    file: FILES,
    find: '    await file.sync();\n',
    replace: '',
    why: 'a power cut takes the epoch back that was acted upon',
    check: [FILES_TEST, 'content is synced before it takes the old one’s place, and its directory after'],
  },
  {
    name: 'highest-durable/directory',
    rule: 'P1, P2',
    guard: 'the directory of what is said to be on disk has been synced as well',
    file: FILES,
    find: '    await syncDirectory(dirname(path));\n',
    replace: '',
    why: 'a power cut brings the old file back',
    check: [FILES_TEST, 'content is synced before it takes the old one’s place, and its directory after'],
  },
  {
    name: 'highest-durable/read',
    rule: 'P1, P2',
    guard: 'an agent that starts goes on from the epochs on disk',
    file: BEGINNING,
    find: 'const epochs = otherLife ? {} : saved.epochs;',
    replace: 'const epochs = otherLife || saved.promiseMs >= 0 ? {} : saved.epochs;',
    why: 'a node reboots, forgets its epoch and promises to the owner before it',
    check: [
      LOOP_TEST,
      'with a new guard waits as long as the longest promise of the one before may run, and notes that before its own name',
    ],
  },
  {
    name: 'highest-durable/damaged',
    rule: 'P1, P2',
    guard: 'a file of epochs that cannot be read is not taken for an empty one',
    file: 'node-agent/agent/state-file.ts',
    find: "    if (!parsed.success) throw new StateFileError(this.#epochsPath, 'is damaged');\n",
    replace: '    if (!parsed.success) return { history: null, epochs: {}, promiseMs: 0, coordinator: null };\n',
    why: 'a node forgets its epoch and promises to the owner before it',
    check: [LOOP_TEST, 'does not begin with epochs that cannot be read'],
  },
];
