/**
 * Asks the segment who has an address, through a guard of the doctor's own in a directory of its own: that of the node answers its
 * agent alone, and would kill the agent for another one that says hello.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { GuardClient } from '../guard/index.ts';
import { textOf } from '../system/index.ts';
import type { Asked } from './addresses.ts';

/** Longer than a start listens: nobody waits for the doctor. */
const LISTEN_MS = 500;
/** A guard that holds nothing ends at once. */
const END_MS = 2_000;

export interface Question {
  readonly interface: string;
  /** Without prefix. */
  readonly address: string;
}

/** @returns an answer, or why there is none, for each question in their order. */
export async function askNeighbours(guardPath: string, questions: readonly Question[]): Promise<Asked[]> {
  if (questions.length === 0) return [];
  const directory = await mkdtemp(join(tmpdir(), 'holdfast-doctor-'));
  const ended = Promise.withResolvers<void>();
  try {
    const guard = await GuardClient.connect(directory, { spawn: guardPath, onLost: () => ended.resolve() });
    try {
      const { pid } = await guard.hello();
      const answers: Asked[] = [];
      // one after the other: the guard takes a few at once, and no machine has many
      for (const question of questions) answers.push(await ask(guard, question));
      process.kill(pid, 'SIGTERM');
      await Promise.race([ended.promise, afterMs(END_MS)]);
      return answers;
    } finally {
      guard.close();
    }
  } catch (error) {
    return questions.map(() => ({ notAsked: textOf(error) }));
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

function ask(guard: GuardClient, { interface: name, address }: Question): Promise<Asked> {
  return guard.probe(name, address, LISTEN_MS).catch((error: unknown) => ({ notAsked: textOf(error) }));
}

function afterMs(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms).unref());
}
