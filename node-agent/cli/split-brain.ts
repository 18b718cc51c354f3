/** `drbd resolve-split-brain`: shows what this side has, and, told so in words, gives it up. */
import { hostname } from 'node:os';
import { wasPrimary } from '../../schemas/copies.ts';
import { type CopyByHand, type CopyHere, copyByHand } from '../agent/drbd-by-hand.ts';
import { CliError, EXIT } from './exit.ts';
import { askLocalAgent } from './local.ts';

export const DISCARD_RISK = 'discard-this-copy';

export interface ResolveOptions {
  readonly stateDir: string;
  readonly acceptRisk?: string;
  readonly keepThisCopy?: boolean;
}

/** @throws {CliError} whenever nothing was changed, with what to do. */
export async function resolveSplitBrain(
  note: (text: string) => void,
  resource: string,
  options: ResolveOptions,
  byHand: CopyByHand = copyByHand(resource),
): Promise<void> {
  const { acceptRisk, keepThisCopy } = options;
  if (acceptRisk !== undefined && (acceptRisk !== DISCARD_RISK || keepThisCopy === true))
    throw new CliError(
      EXIT.usage,
      keepThisCopy === true
        ? 'this copy is either kept or discarded'
        : `“${acceptRisk}” is not the name of the risk, which is ${DISCARD_RISK}`,
      { next: `holdfast drbd resolve-split-brain ${resource}` },
    );
  const looked = await byHand.look();
  if ('problem' in looked)
    throw new CliError(EXIT.refused, looked.problem, looked.next === undefined ? {} : { next: looked.next });
  const { copy } = looked;
  if (copy.peers.length > 0 && copy.peers.every(({ connection }) => connection === 'Connected'))
    throw new CliError(EXIT.refused, `${resource} is connected to all its peers: there is no split brain`, {
      lines: facts(copy),
    });
  if (keepThisCopy === true) return await connect(note, byHand, resource, copy);
  const group = await groupHere(options.stateDir, resource);
  if (copy.role === 'Primary' || group !== undefined)
    throw new CliError(
      EXIT.refused,
      `${resource} is in use here${group === undefined ? '' : `: this node has ${group}`}; its copy is not given up under a running group`,
      {
        lines: facts(copy),
        next: `on the other machine, if its writes may be lost: holdfast drbd resolve-split-brain ${resource}; else stop the group first: holdfast group stop ${group ?? 'GROUP'}`,
      },
    );
  if (acceptRisk === undefined)
    throw new CliError(
      EXIT.unsafe,
      `everything written to ${resource} on ${hostname()} since the two parted would be lost`,
      {
        lines: [
          ...facts(copy),
          'What the other side has: holdfast why GROUP, which shows both. Save first what may be needed: of the disk below DRBD, or of the files.',
        ],
        next: `holdfast drbd resolve-split-brain ${resource} --accept-risk=${DISCARD_RISK}`,
      },
    );
  const trouble = await byHand.giveUp();
  if (trouble !== undefined) throw failed(resource, 'connect --discard-my-data', trouble);
  note(
    `${resource}: the copy on ${hostname()} is given up and takes over that of its peer as soon as they are connected`,
  );
  note(
    `Next: on the other machine, unless it connects by itself: holdfast drbd resolve-split-brain ${resource} --keep-this-copy`,
  );
}

async function connect(
  note: (text: string) => void,
  byHand: CopyByHand,
  resource: string,
  { peers }: CopyHere,
): Promise<void> {
  if (peers.length > 0 && !peers.some(({ connection }) => connection === 'StandAlone')) {
    note(`${resource} is already looking for its peer; nothing was changed`);
    return;
  }
  const trouble = await byHand.connect();
  if (trouble !== undefined) throw failed(resource, 'connect', trouble);
  note(`${resource}: connects again, and keeps what is on ${hostname()}`);
}

function facts(copy: CopyHere): string[] {
  const { role, disk, generation, peers } = copy;
  const wrote = wasPrimary(copy) === true && role !== 'Primary' ? ', was Primary when it last wrote' : '';
  const known = generation === undefined ? '' : `, generation ${generation.split(':').slice(0, 2).join(':')}`;
  return [
    `Here: ${role}, ${disk}${known}${wrote}`,
    ...peers.map(
      ({ host, connection, disk: theirs, behindKiB, splitBrain }) =>
        `Peer ${host}: ${connection}, ${theirs}${splitBrain === true ? ', split brain' : ''}${behindKiB === undefined ? '' : `, ${behindKiB} KiB written here since they parted`}`,
    ),
  ];
}

/** The group of this DRBD resource, where the agent has its lease. */
async function groupHere(stateDir: string, resource: string): Promise<string | undefined> {
  const local = await askLocalAgent(stateDir);
  return local?.groups?.find(
    ({ phase, copies }) => phase != null && copies?.some(({ name }) => name === resource) === true,
  )?.group;
}

function failed(resource: string, what: string, lines: readonly string[]): CliError {
  return new CliError(EXIT.refused, `drbdadm ${what} ${resource} failed`, {
    lines,
    next: `drbdadm status ${resource}`,
  });
}
