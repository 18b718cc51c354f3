/** Random walks of model and code together. */
import { Random } from '../../random.ts';
import { boundsOf } from '../bounds.ts';
import type { Choice } from '../walk.ts';
import { EVERYTHING, Lockstep, moveName } from './lockstep.ts';

/** What would otherwise be chosen too often, or too rarely, to get anywhere. */
const WEIGHTS: Readonly<Partial<Record<string, number>>> = {
  'time passes': 8,
  renews: 3,
  adopts: 10,
  'extends by answer': 8,
  'extends by promise': 20,
  promises: 10,
  learns: 5,
  grants: 10,
  'grants to a dead incarnation': 4,
  'decides to start': 10,
  starts: 10,
  'gives back': 2,
  'hears the release': 4,
  boots: 2,
  resumes: 2,
  'agent starts again': 2,
  'changes voters': 1,
  releases: 0.3,
  'stops and forgets': 0.3,
  'repeats the grant': 0.5,
  pauses: 0.2,
  crashes: 0.2,
  'loses power': 0.2,
  'loses its guard': 0.1,
  'coordinator restarts': 0.2,
  'clock forward': 0.1,
  'clock back': 0.1,
  'is proven dead': 4,
};

/** Moves of which there is one for each set of voters. */
const SETS: ReadonlySet<string> = new Set(['grants', 'grants to a dead incarnation', 'changes voters']);

/** @returns how often each move was done, and how often the code declined it for a reason of its own. */
export function walkTogether(
  seed: number,
  nodes: number,
  voters: number,
  steps: number,
): Pick<Lockstep, 'done' | 'stricter'> {
  const random = new Random(seed);
  const both = new Lockstep(boundsOf(nodes, EVERYTHING, { voters }));
  for (const node of both.code.nodes) node.bold = seed % 2 === 0;
  for (let step = 0; step < steps; step++) {
    for (const node of both.code.nodes) {
      if (random.next() < 0.05) node.wants = !node.wants;
      if (random.next() < 0.05) node.slow = !node.slow;
    }
    const open = [...both.choices()];
    while (open.length > 0) {
      const choice = pick(random, open, 2 ** (nodes - 1));
      const refusal = both.take(choice);
      if (refusal === undefined) break;
      both.mustBeStricter(choice, refusal);
      open.splice(open.indexOf(choice), 1);
    }
  }
  return both;
}

function pick(random: Random, choices: readonly Choice[], sets: number): Choice {
  const weights = choices.map(({ step }) => {
    const move = moveName(step);
    return (WEIGHTS[move] ?? 1) / (SETS.has(move) ? sets : 1);
  });
  let left = random.next() * weights.reduce((sum, weight) => sum + weight, 0);
  for (const [index, choice] of choices.entries()) {
    left -= weights[index] ?? 0;
    if (left < 0) return choice;
  }
  const last = choices.at(-1);
  if (last === undefined) throw new Error('nothing to choose from');
  return last;
}
