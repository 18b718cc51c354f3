/** What a person does with the copy on this machine when DRBD has parted two of them. Nothing in the agent calls this. */
import { hostname } from 'node:os';
import type { Copy } from '../../schemas/copies.ts';
import { copyFrom, Drbd } from '../resources/index.ts';

export type CopyHere = Pick<Copy, 'role' | 'disk' | 'peers' | 'generation'>;

export type Looked = { readonly copy: CopyHere } | { readonly problem: string; readonly next?: string };

/** Undefined: it is done. Else the last that was said. */
type Done = readonly string[] | undefined;

export interface CopyByHand {
  look(): Promise<Looked>;
  /** Connects it so that the peer's data takes the place of what is here. */
  giveUp(): Promise<Done>;
  /** Connects it, and keeps what is here. */
  connect(): Promise<Done>;
}

/** @param resource the name of the DRBD resource. */
export function copyByHand(resource: string, drbd = new Drbd()): CopyByHand {
  const done = async (args: readonly string[]): Promise<Done> => {
    const result = await drbd.adm([...args, resource]);
    return result.code === 0 ? undefined : result.output.trim().split('\n').slice(-3);
  };
  return {
    look: () => look(resource, drbd),
    async giveUp() {
      // a connection that is down already cannot be ended; what counts is the connect
      await drbd.adm(['disconnect', resource]);
      return await done(['connect', '--discard-my-data']);
    },
    connect: () => done(['connect']),
  };
}

async function look(resource: string, drbd: Drbd): Promise<Looked> {
  const read = await drbd.config();
  if ('problem' in read) return read;
  const config = read.resources.get(resource);
  if (config === undefined)
    return {
      problem: `the DRBD configuration of this machine has no resource ${resource}`,
      next: 'drbdadm sh-resources lists them',
    };
  const snapshot = await drbd.snapshot();
  if ('problem' in snapshot) return snapshot;
  const known = snapshot.state.resources[resource];
  if (known === undefined) return { problem: `${resource} is not up on this machine`, next: `drbdadm up ${resource}` };
  const generation = await drbd.generation(resource);
  return { copy: { ...copyFrom(known, config, hostname()), ...(generation === undefined ? {} : { generation }) } };
}
