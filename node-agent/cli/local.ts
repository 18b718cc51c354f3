/**
 * What the agent on this machine knows, when the coordinator does not answer: one line of JSON over its socket. Always labelled as
 * what it is, because one node does not see the cluster.
 */
import { connect } from 'node:net';
import { join } from 'node:path';
import * as z from 'zod';
import { Refused } from './client.ts';
import { CliError, EXIT } from './exit.ts';
import type { Io } from './io.ts';
import { printJson } from './setting.ts';
import { lasting, oneLine, table } from './text.ts';

const ANSWER_WITHIN_MS = 2_000;
const MAX_ANSWER_BYTES = 4 * 1024 * 1024;

/** Read leniently: agents of other versions know more or less. */
const localStatusSchema = z.looseObject({
  cluster: z.string().optional(),
  node: z.string().optional(),
  revision: z.int().optional(),
  /** Present instead of everything else while the agent is starting. */
  error: z.string().optional(),
  connected: z.boolean().optional(),
  coordinator: z.looseObject({ lastAnswerMs: z.number().optional(), trouble: z.string().optional() }).optional(),
  quarantineMs: z.number().optional(),
  /** How long ago each node that it knows as a peer was last heard; null: not since the agent started. */
  peersHeardMs: z.record(z.string(), z.number().nullable()).optional(),
  groups: z
    .array(
      z.looseObject({
        group: z.string(),
        state: z.string(),
        epoch: z.int().optional(),
        reason: z.string().optional(),
        leaseRemainingMs: z.number().nullable().optional(),
        phase: z.string().nullable().optional(),
        voters: z.array(z.string()).optional(),
        livesOnPromises: z.boolean().optional(),
        copies: z.array(z.looseObject({ name: z.string() })).optional(),
        resources: z
          .array(z.looseObject({ id: z.string(), state: z.string(), reason: z.string().optional() }))
          .optional(),
      }),
    )
    .optional(),
});
export type LocalStatus = z.infer<typeof localStatusSchema>;

/** @returns undefined when no agent answers on this machine. */
export async function askLocalAgent(stateDir: string): Promise<LocalStatus | undefined> {
  try {
    const line = await oneLineFrom(join(stateDir, 'agent.sock'), '{"query":"status"}\n');
    return localStatusSchema.parse(JSON.parse(line));
  } catch (error) {
    // No socket, no permission, no answer, or an answer of another kind: there is no agent to ask.
    if (error instanceof Error) return undefined;
    throw error;
  }
}

function oneLineFrom(path: string, question: string): Promise<string> {
  return new Promise((resolve, reject) => {
    let answer = '';
    const socket = connect(path, () => socket.write(question));
    const timer = setTimeout(() => socket.destroy(new Error('no answer')), ANSWER_WITHIN_MS);
    socket.setEncoding('utf8');
    socket.on('data', (text: string) => {
      answer += text;
      if (answer.length > MAX_ANSWER_BYTES) socket.destroy(new Error('the answer is too long'));
      const end = answer.indexOf('\n');
      if (end === -1) return;
      resolve(answer.slice(0, end));
      socket.destroy();
    });
    socket.on('error', reject);
    socket.on('close', () => {
      clearTimeout(timer);
      reject(new Error('closed without an answer'));
    });
  });
}

/** Why the question about the cluster found no answer; undefined for an answer that stands, such as a “no” to a token that was given. */
function unanswered(failure: unknown): string | undefined {
  if (failure instanceof Refused && failure.problem.code === 'unauthorized' && failure.anonymous)
    return 'The coordinator tells nothing without a token, and none was given';
  if (!(failure instanceof CliError)) return undefined;
  if (failure.exit === EXIT.unreachable) return 'The coordinator did not answer';
  return failure.exit === EXIT.notSetUp ? `The coordinator was not asked: ${oneLine(failure.message)}` : undefined;
}

/**
 * Shows what the local agent knows instead of what the coordinator would have said.
 * @throws always the failure, with or without an answer of the local agent, because the question about the cluster was not answered.
 */
export async function answerLocally(
  io: Io,
  json: boolean,
  stateDir: string,
  failure: unknown,
  group?: string,
): Promise<never> {
  const why = unanswered(failure);
  const local = why === undefined ? undefined : await askLocalAgent(stateDir);
  if (local === undefined) throw failure;
  io.note(`${why}; this is only what the agent on this machine knows:`);
  if (json) printJson(io, { schema: 'holdfast/local-status/v1', source: 'local-agent', ...local });
  else io.data(localText(local, group));
  throw failure;
}

export function localText(local: LocalStatus, only?: string): string {
  if (local.error !== undefined) return oneLine(local.error);
  const { cluster = 'unknown cluster', node = 'this node' } = local;
  const groups = (local.groups ?? []).filter(({ group }) => only === undefined || group === only);
  const head = [
    `${cluster}  seen from ${node} alone${local.revision === undefined ? '' : `  (revision ${local.revision})`}`,
    ...contact(local),
    ...groups.flatMap((group) => livesOn(group, node)),
    ...(local.quarantineMs ? [`it restarted and may activate in ${lasting(local.quarantineMs)}`] : []),
  ].join('\n');
  if (groups.length === 0) return `${head}\n\nit knows ${only === undefined ? 'no groups' : `nothing of ${only}`}`;
  const parts = [head, groupTable(groups)];
  const peers = Object.entries(local.peersHeardMs ?? {});
  if (peers.length > 0) parts.push(peerTable(peers));
  return parts.join('\n\n');
}

type LocalGroup = NonNullable<LocalStatus['groups']>[number];

function groupTable(groups: readonly LocalGroup[]): string {
  const votes = groups.some(({ voters = [] }) => voters.length > 0);
  const rows = groups.map((group) => [
    group.group,
    group.state,
    group.epoch === undefined ? '-' : String(group.epoch),
    typeof group.leaseRemainingMs === 'number' ? lasting(group.leaseRemainingMs) : '-',
    ...(votes ? [(group.voters ?? []).join(' ') || '-'] : []),
    oneLine(group.reason ?? (group.resources ?? []).map((resource) => `${resource.id} ${resource.state}`).join(', ')),
  ]);
  return table(['GROUP', 'HERE', 'EPOCH', 'LEASE', ...(votes ? ['VOTERS'] : []), 'NOTE'], rows);
}

function peerTable(peers: readonly (readonly [string, number | null])[]): string {
  const heard = (agoMs: number | null) => (agoMs === null ? 'not since the agent started' : `${lasting(agoMs)} ago`);
  return table(
    ['PEER', 'HEARD'],
    peers.map(([node, agoMs]) => [node, heard(agoMs)]),
  );
}

/** By whose word a group runs on that the coordinator has not renewed. */
function livesOn({ group, voters = [], livesOnPromises }: LocalGroup, node: string): string[] {
  if (livesOnPromises !== true) return [];
  const others = voters.filter((voter) => voter !== node);
  return [
    others.length === 0
      ? `${group} goes on without the coordinator: no other node may take it over`
      : `${group} goes on by the promises of ${others.join(', ')}, for as long as each of them answers`,
  ];
}

function contact({ connected, coordinator }: LocalStatus): string[] {
  if (connected === undefined) return [];
  const heard = coordinator?.lastAnswerMs === undefined ? '' : `, last answer ${lasting(coordinator.lastAnswerMs)} ago`;
  const why = connected || coordinator?.trouble === undefined ? '' : `: ${coordinator.trouble}`;
  return [`the agent ${connected ? 'reaches' : 'does not reach'} the coordinator${heard}${why}`];
}
