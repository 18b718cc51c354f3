/**
 * What a node says of its copy of replicated data: one DRBD resource of a group, with DRBD's own words for its states
 * (drbdsetup(8)). Of several volumes the worst counts. The coordinator grants by it (worker/decide/copies.ts).
 */
import * as z from 'zod';
import { MAX_COPY_PEERS } from './limits.ts';
import { nameSchema } from './names.ts';

/** DRBD has more words for states in every version: an unknown one must not cost the report that bears it. */
const state = z.string().max(24);
const host = z.string().max(64);

export const copyPeerSchema = z.object({
  /** By the name that DRBD's configuration has for the machine (`uname -n`). */
  host,
  /** `Connected`, `Connecting`, `StandAlone`, … */
  connection: state,
  /** What this node knows of the peer's role and disk: `Unknown` and `DUnknown` while they are not connected. */
  role: state,
  disk: state,
  /** DRBD itself has said that the two have diverged. */
  splitBrain: z.boolean().optional(),
  /** KiB that differ, as far as this node knows; told while they are not connected. */
  behindKiB: z.int().nonnegative().optional(),
});
export type CopyPeer = z.infer<typeof copyPeerSchema>;

export const copySchema = z.object({
  group: nameSchema,
  /** Id of the resource in its group. */
  resource: nameSchema,
  /** Name of the DRBD resource. */
  name: z.string().max(64),
  /** How DRBD's configuration calls this machine. */
  host,
  role: state,
  /** `UpToDate`, `Inconsistent`, …; `Unconfigured`: the kernel does not know the resource. */
  disk: state,
  /** Writes wait: for the fence-peer handler, for quorum or for a disk. */
  frozen: z.boolean().optional(),
  /**
   * A Primary that loses a peer writes nothing more before the coordinator knows of it: `fencing resource-and-stonith` in the kernel, and
   * the fence-peer handler is Holdfast's.
   */
  guarded: z.boolean(),
  /** Of the configuration that has to be alike on all nodes: a digest for each of `CONFIG_PARTS`, in their order, with dots. */
  config: z.string().max(80).optional(),
  /** Data generation while some peer is StandAlone: current, base of the bitmap, two earlier ones, hexadecimal, with colons. */
  generation: z.string().max(100).optional(),
  peers: z.array(copyPeerSchema).max(MAX_COPY_PEERS),
  /** What keeps it from being up and connected, with the next step. */
  problem: z.string().max(400).optional(),
});
export type Copy = z.infer<typeof copySchema>;

/**
 * What has to be alike on all nodes of a DRBD resource, as far as DRBD itself does not see to it: `volumes` are the devices, `net`, `disk` and
 * `options` what stands in these sections besides the options that are named here.
 */
export const CONFIG_PARTS = [
  'hosts',
  'volumes',
  'protocol',
  'fencing',
  'auto-promote',
  'handlers',
  'net',
  'disk',
  'options',
] as const;
export type ConfigPart = (typeof CONFIG_PARTS)[number];

/** @returns in what two configurations differ; undefined where one of them is of an agent that knows other parts. */
export function differingParts(one: string, other: string): readonly ConfigPart[] | undefined {
  const [mine, theirs] = [one.split('.'), other.split('.')];
  if (mine.length !== CONFIG_PARTS.length || theirs.length !== CONFIG_PARTS.length) return undefined;
  return CONFIG_PARTS.filter((_, index) => mine[index] !== theirs[index]);
}

/** Taken by name with a move: the target's copy may lack what was written last. */
export const NEWER_WRITES_RISK = 'lose-newer-writes';

const PRIMARY_BIT = 1n;

/**
 * Have two copies diverged? Each has gone on from a generation that the other does not know (drbd(8), data generation identifiers). The
 * lowest bit only says whether the node was Primary.
 * @returns undefined where one of them has not told its generation.
 */
export function diverged(one: Copy, other: Copy): boolean | undefined {
  const mine = generations(one.generation);
  const theirs = generations(other.generation);
  if (mine === undefined || theirs === undefined) return undefined;
  const [a = 0n] = mine;
  const [b = 0n] = theirs;
  return a !== b && !theirs.slice(1).includes(a) && !mine.slice(1).includes(b);
}

/** Current, bitmap and history, without the bit for the role; undefined if it was not told or is something else. */
function generations(text: string | undefined): bigint[] | undefined {
  const parts = text?.split(':') ?? [];
  if (parts.length < 2 || !parts.every((part) => /^[0-9A-Fa-f]{1,16}$/.test(part))) return undefined;
  return parts.map((part) => BigInt(`0x${part}`) & ~PRIMARY_BIT).filter((value, index) => index === 0 || value !== 0n);
}

/** The lowest bit of the current generation: the node is Primary, or was when it was last in contact. */
export function wasPrimary(copy: Pick<Copy, 'generation'>): boolean | undefined {
  const current = copy.generation?.split(':')[0];
  if (current === undefined || !/^[0-9A-Fa-f]{1,16}$/.test(current)) return undefined;
  return (BigInt(`0x${current}`) & PRIMARY_BIT) !== 0n;
}

/** What one copy knows of another machine. */
export function peerOf(copy: Copy, other: string): CopyPeer | undefined {
  return copy.peers.find(({ host: name }) => name === other);
}

/** Connected, and with every write: whoever is Primary there, nothing is missing here. */
export function isCurrent(peer: CopyPeer): boolean {
  return peer.connection === 'Connected' && peer.disk === 'UpToDate';
}
