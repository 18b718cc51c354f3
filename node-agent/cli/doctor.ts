/** `doctor`: what is wrong or missing on this node and in the cluster, each with what to do about it. */
import { hostname } from 'node:os';
import type { Command } from 'commander';
import { configurationSchema, isServed, type Status } from '../../schemas/api.ts';
import type { Config } from '../../schemas/config.ts';
import { parseDocument } from '../../schemas/document.ts';
import { PEER_PORT } from '../../schemas/limits.ts';
import { type Webhook, webhookListSchema } from '../../schemas/webhook.ts';
import { DEFAULT_STATE_DIR, IdentityError, type NodeFile, readNodeFile } from '../agent/identity.ts';
import type { Declared, Finding, Owner } from '../doctor/index.ts';
import { errnoOf } from '../system/index.ts';
import { Client } from './client.ts';
import { readDocument } from './configuration.ts';
import { problemLines } from './configuration-text.ts';
import { type Connection, connectionFrom } from './context.ts';
import { doctorText } from './doctor-text.ts';
import { fetchEvents, type ShownEvent } from './events.ts';
import { CliError, EXIT } from './exit.ts';
import { besideExecutable } from './installed.ts';
import { askLocalAgent, type LocalStatus } from './local.ts';
import { routes } from './routes.ts';
import { printJson, type Register, type Setting, settingOf } from './setting.ts';
import { fetchStatus } from './status.ts';

interface DoctorOptions {
  readonly stateDir: string;
  readonly document?: string;
  readonly name?: string;
  readonly nodeOnly?: boolean;
  readonly clusterOnly?: boolean;
}

/** What the coordinator says; undefined parts it would not tell. */
interface Asked {
  readonly status: Status;
  readonly config: Config | undefined;
  readonly events: readonly ShownEvent[];
  /** Undefined: the token may not see them. */
  readonly webhooks: readonly Webhook[] | undefined;
}

async function doctor(setting: Setting, options: DoctorOptions): Promise<void> {
  const { io, json } = setting;
  if (options.nodeOnly === true && options.clusterOnly === true)
    throw new CliError(EXIT.usage, '--node-only and --cluster-only leave nothing to look at', {
      next: 'give one of them, or none for both',
    });
  const { clusterFindings, examineNode, exitOf, worst } = await import('../doctor/index.ts');
  const document = options.document === undefined ? undefined : await readConfig(setting, options.document);
  const joined = options.clusterOnly === true ? undefined : await joinedNode(options.stateDir);
  const connection =
    options.nodeOnly === true ? undefined : await connectionOf(setting, joined, options.clusterOnly === true);
  const examinesNode = options.clusterOnly !== true && (joined !== undefined || document !== undefined);
  if (!examinesNode && connection === undefined) throw nothingToExamine(options);

  const asked = connection === undefined ? undefined : await askCoordinator(connection);
  const findings: Finding[] = [];
  const head: string[] = [];
  let node: { name: string; stateDir: string; declaredBy: string | null } | undefined;
  if (examinesNode) {
    const name = nodeName(joined, document, options);
    const answer = asked !== undefined && 'status' in asked ? asked : undefined;
    const declared = await declaredFor(name, document, options, answer);
    const local = joined === undefined ? undefined : await askLocalAgent(options.stateDir);
    findings.push(
      ...(await examineNode({
        stateDir: options.stateDir,
        coordinatorUrl: joined?.url,
        declared,
        agentAnswers: local !== undefined,
        peers:
          joined === undefined
            ? undefined
            : {
                node: name,
                listen: joined.lan ?? { port: PEER_PORT },
                agentSays: local === undefined ? undefined : { heardMs: local.peersHeardMs },
                exchanges: exchangesOf(name, local, answer?.status),
                told: toldOf(answer?.status.nodes[name]),
              },
        guardPath: besideExecutable('holdfast-guard'),
        ownerOf: (group) => ownerOf(group, name, answer?.status, declared, joined),
      })),
    );
    node = { name, stateDir: options.stateDir, declaredBy: declared?.source ?? null };
    head.push(headOf(node, joined));
  }
  let cluster: string | undefined;
  if (asked !== undefined && 'status' in asked) {
    const { status, events, webhooks } = asked;
    findings.push(...clusterFindings({ status, timing: asked.config?.timing, events, webhooks }));
    cluster = asked.status.cluster;
    head.push(`cluster ${cluster}, as its coordinator sees it (revision ${status.revision})`);
    if (webhooks === undefined) head.push('its webhooks were not looked at: they are for tokens of the role admin');
  } else if (asked !== undefined) findings.push(asked.finding);
  else if (options.nodeOnly !== true)
    head.push('the cluster was not looked at: no token for its coordinator (HOLDFAST_TOKEN_FILE, --token-file)');

  const level = worst(findings);
  io.exit.code = exitOf(level);
  if (!json) return io.data(doctorText(head, findings, io));
  printJson(io, { schema: 'holdfast/doctor/v1', level, node: node ?? null, cluster: cluster ?? null, findings });
}

function headOf(
  { name, stateDir, declaredBy }: { name: string; stateDir: string; declaredBy: string | null },
  joined: NodeFile | undefined,
): string {
  const where = joined === undefined ? 'which has not joined' : `of ${joined.cluster} (${stateDir})`;
  return `node ${name}, ${where}${declaredBy === null ? '' : `, against ${declaredBy}`}`.replace(', of', ' of');
}

function nothingToExamine({ stateDir, nodeOnly }: DoctorOptions): CliError {
  const what = nodeOnly === true ? '' : ', and no coordinator is named with a token';
  return new CliError(EXIT.notSetUp, `there is nothing to look at: ${stateDir} is not that of a node${what}`, {
    next: 'on a node: holdfast join, or --state-dir DIR; before it has joined: --document FILE --name NODE; for the cluster: --url, --cluster and --token-file, or `holdfast context set`',
  });
}

async function readConfig(setting: Setting, file: string): Promise<Config> {
  const document = await readDocument(setting, file);
  const parsed = parseDocument(document.text);
  if (parsed.ok) return parsed.config;
  throw new CliError(EXIT.badConfiguration, `${document.name} is not a valid document`, {
    lines: problemLines(document, parsed.errors),
  });
}

/** @returns undefined where no node has joined in this directory. */
async function joinedNode(stateDir: string): Promise<NodeFile | undefined> {
  try {
    return await readNodeFile(stateDir);
  } catch (error) {
    if (error instanceof IdentityError) throw new CliError(EXIT.notSetUp, error.message, { cause: error });
    if (errnoOf(error) === 'EACCES' || errnoOf(error) === 'EPERM')
      throw new CliError(EXIT.notAllowed, `${stateDir} may not be read by this user`, {
        next: 'run the doctor as root, or look at the cluster alone: --cluster-only',
        cause: error,
      });
    throw error;
  }
}

/** The coordinator that was named, or else that of this node; only with a token is there anything to ask it. */
async function connectionOf(
  setting: Setting,
  joined: NodeFile | undefined,
  needed: boolean,
): Promise<Connection | undefined> {
  const { options, io } = setting;
  let connection: Connection;
  try {
    connection = await connectionFrom(options, io);
  } catch (error) {
    if (needed || !(error instanceof CliError) || error.exit !== EXIT.notSetUp) throw error;
    if (joined === undefined) return undefined;
    connection = await connectionFrom({ ...options, url: joined.url }, io);
  }
  const cluster = connection.cluster ?? joined?.cluster;
  return !needed && (connection.token === undefined || cluster === undefined) ? undefined : { ...connection, cluster };
}

/** A coordinator that does not answer is a finding like any other: the node can be looked at all the same. */
async function askCoordinator(connection: Connection): Promise<Asked | { readonly finding: Finding }> {
  const client = new Client(connection);
  const { sayer } = await import('../doctor/index.ts');
  try {
    const { value: status } = await fetchStatus(client);
    const { value: stored } = await client.call(configurationSchema, {
      method: 'GET',
      path: routes.config(client.cluster),
    });
    const parsed = stored.document === '' ? undefined : parseDocument(stored.document);
    const { events } = await fetchEvents(client, {});
    return {
      status,
      config: parsed?.ok === true ? parsed.config : undefined,
      events: events.map(({ event }) => event),
      webhooks: await webhooksOf(client),
    };
  } catch (error) {
    if (!(error instanceof CliError) || error.exit === EXIT.usage) throw error;
    const finding = sayer('coordinator').unknown(
      connection.url.href,
      `the cluster was not looked at: ${error.message}`,
      error.next,
    );
    return { finding };
  }
}

/** @returns undefined when this token may not see them. */
async function webhooksOf(client: Client): Promise<readonly Webhook[] | undefined> {
  try {
    const path = routes.webhooks(client.cluster);
    return (await client.call(webhookListSchema, { method: 'GET', path })).value.webhooks;
  } catch (error) {
    if (error instanceof CliError && error.exit === EXIT.notAllowed) return undefined;
    throw error;
  }
}

function nodeName(joined: NodeFile | undefined, document: Config | undefined, options: DoctorOptions): string {
  if (joined !== undefined) {
    if (options.name !== undefined && options.name !== joined.node)
      throw new CliError(EXIT.usage, `--name ${options.name}: this machine has joined as ${joined.node}`, {
        next: 'leave --name out',
      });
    if (document !== undefined && document.cluster !== joined.cluster)
      throw new CliError(
        EXIT.usage,
        `the document is for cluster ${document.cluster}, and this machine is a node of ${joined.cluster}`,
      );
  }
  const name = joined?.node ?? options.name ?? hostname();
  if (document === undefined || document.nodes.includes(name)) return name;
  throw new CliError(EXIT.usage, `${name} is none of the document's nodes: ${document.nodes.join(', ')}`, {
    next: joined === undefined ? 'give the name that this machine will have: --name NODE' : `add ${name} to its nodes`,
  });
}

/** The document that was given, else what the agent has saved, else what the coordinator has. */
async function declaredFor(
  name: string,
  document: Config | undefined,
  { stateDir, document: file }: DoctorOptions,
  asked: Asked | undefined,
): Promise<Declared | undefined> {
  const { fromDocument, fromNodeConfig } = await import('../doctor/index.ts');
  if (document !== undefined) return fromDocument(document, name, file ?? 'the document');
  const { StateFile } = await import('../agent/state-file.ts');
  const saved = await new StateFile(stateDir).config();
  const current = asked?.config;
  if (current !== undefined && (saved?.revision ?? 0) < (asked?.status.revision ?? 0))
    return fromDocument(current, name, `revision ${asked?.status.revision} of the coordinator`);
  if (saved !== undefined) return fromNodeConfig(saved);
  return current === undefined
    ? undefined
    : fromDocument(current, name, `revision ${asked?.status.revision} of the coordinator`);
}

/** Who may have the addresses of a group by right. */
function ownerOf(
  group: string,
  node: string,
  status: Status | undefined,
  declared: Declared | undefined,
  joined: NodeFile | undefined,
): Owner {
  if (status === undefined) {
    if (joined === undefined)
      return { is: 'unknown', why: 'this machine has not joined, and no coordinator was asked' };
    const on = declared?.groups.find(({ name }) => name === group)?.on ?? [];
    // a group that may run here alone runs nowhere else
    return on.every((one) => one === node) ? { is: 'nobody' } : { is: 'unknown', why: 'the coordinator was not asked' };
  }
  const found = status.groups[group];
  if (found === undefined || found.owner === null || found.owner === node) return { is: 'nobody' };
  return { is: 'node', node: found.owner, running: isServed(found.state) };
}

/** With whom promises are exchanged now: the voters of what is held here, and the owners of what this node votes for. */
function exchangesOf(
  node: string,
  local: LocalStatus | undefined,
  status: Status | undefined,
): ReadonlyMap<string, readonly string[]> {
  const found = new Map<string, string[]>();
  const add = (peer: string, group: string) => {
    const groups = found.get(peer) ?? [];
    if (peer !== node && !groups.includes(group)) found.set(peer, [...groups, group]);
  };
  for (const { group, phase, voters = [] } of local?.groups ?? [])
    if (phase === 'active' && status?.groups[group]?.outage?.requires !== 'uplink')
      for (const peer of voters) add(peer, group);
  for (const [group, { owner, outage }] of Object.entries(status?.groups ?? {}))
    if (owner !== null && outage?.requires !== 'uplink' && outage?.voters.includes(node) === true) add(owner, group);
  return found;
}

function toldOf(node: Status['nodes'][string] | undefined): boolean | undefined {
  return node?.listens === undefined ? undefined : node.listens !== null;
}

export const registerDoctor: Register = (program, io) => {
  program
    .command('doctor')
    .option('--state-dir <dir>', 'of the node on this machine', DEFAULT_STATE_DIR)
    .option('--document <file>', 'look at this machine against a document that is not applied yet; - is standard input')
    .option('--name <node>', 'name of this machine in the document, while it has not joined (default: the host name)')
    .option('--node-only', 'only this machine')
    .option('--cluster-only', 'only the cluster, as its coordinator sees it')
    .description('Examine this node, and the cluster where there is a token; name what is wrong, each with its fix')
    .addHelpText(
      'after',
      `
Changes nothing. A node that has joined is examined against the configuration that its agent has saved. Exit codes as of status --check:
0 nothing is wrong, 1 warnings, 2 errors, 3 something could not be looked at and nothing is wrong otherwise.

Examples:
  holdfast doctor
  holdfast doctor --document shop.yaml --name bob     before bob joins
  holdfast doctor --json | jq '.findings[] | select(.level != "ok")'`,
    )
    .action((options: DoctorOptions, command: Command) => doctor(settingOf(command, io), options));
};
