/** `apply --wait`: what becomes of the groups that a document touched, and what nodes have to say against it. */
import { isServed, type Plan, statusSchema } from '../../schemas/api.ts';
import type { Client } from './client.ts';
import { CliError, EXIT } from './exit.ts';
import type { Io } from './io.ts';
import { routes } from './routes.ts';

const LOOK_MS = 500;

/**
 * Follows the groups that the plan touches until each is served or stopped by an operator's word, in two looks one after the other, and tells
 * once what a node refuses of them.
 * @throws {CliError} `timedOut` when one is not served by then. The document stays in force.
 */
export async function followApplied(io: Io, client: Client, { effects }: Plan, waitMs: number): Promise<void> {
  const touched = effects
    .filter(({ effect }) => effect !== 'removed' && effect !== 'unchanged')
    .map(({ group }) => group);
  const until = io.now() + waitMs;
  const told = new Set<string>();
  const tell = (line: string) => {
    if (!told.has(line)) io.note(line);
    told.add(line);
  };
  for (let calm = 0; ; ) {
    const { value: status } = await client.call(statusSchema, { method: 'GET', path: routes.status(client.cluster) });
    for (const [node, { refusals }] of Object.entries(status.nodes))
      for (const { group, resource, reason } of refusals)
        if (touched.includes(group)) tell(`! ${node} refuses ${group}/${resource}: ${reason}`);
    const open = touched.filter((group) => {
      const state = status.groups[group]?.state;
      return state !== undefined && !isServed(state) && state !== 'stopped';
    });
    calm = open.length === 0 ? calm + 1 : 0;
    // who does not run it may say so after it is served elsewhere
    if (calm > 1) return;
    for (const group of open) tell(`${group}: ${status.groups[group]?.state}`);
    const leftMs = until - io.now();
    if (leftMs <= 0 && open.length === 0) return;
    if (leftMs <= 0)
      throw new CliError(
        EXIT.timedOut,
        `the document is in force, and after ${waitMs / 1_000} s not served: ${open.join(', ')}`,
        {
          next: `holdfast why ${open[0]}`,
        },
      );
    await new Promise((resolve) => setTimeout(resolve, Math.min(LOOK_MS, leftMs)));
  }
}
