/** `join`: what makes a machine a node. */
import { hostname } from 'node:os';
import type { Command } from 'commander';
import { enrolledSchema } from '../../schemas/api.ts';
import { PEER_PORT } from '../../schemas/limits.ts';
import { nameSchema } from '../../schemas/names.ts';
import { DEFAULT_STATE_DIR, IdentityError, identityFiles, joinCluster, type NodeFile } from '../agent/identity.ts';
import {
  guardArguments,
  type ResetChoice,
  resetChoice,
  resetFile,
  resetFileText,
  resetObstacle,
} from '../agent/reset-choice.ts';
import { errnoOf, FileWriteError, isByDate, textOf } from '../system/index.ts';
import { Client } from './client.ts';
import { coordinatorUrl, readToken } from './context.ts';
import { CliError, EXIT } from './exit.ts';
import type { Io } from './io.ts';
import { type LanAddress, lanAddress, sameAddress } from './lan-address.ts';
import { RESET_OPTION, WATCHDOG_OPTION } from './machine.ts';
import { startUnit, type UnitStart, unitsArePackaged } from './packaged.ts';
import { routes } from './routes.ts';
import { printJson, type Register, type Setting, settingOf } from './setting.ts';

interface JoinOptions {
  readonly name?: string;
  readonly allow: readonly string[];
  readonly lanAddress?: string;
  readonly stateDir: string;
  readonly reset?: string;
  readonly watchdog?: string;
}

const ADVICE = {
  unreachable: 'check the URL and the network, and run the same join again: the token has not been used',
  unknown: 'run the same join again: with the key that this machine has made, the token is taken once more',
} as const;

/** What the system answers where the state directory cannot be one. */
const STATE_DIR_TROUBLE = new Set(['EACCES', 'EEXIST', 'ENAMETOOLONG', 'ENOSPC', 'ENOTDIR', 'EPERM', 'EROFS']);

async function join(setting: Setting, urlText: string, options: JoinOptions): Promise<void> {
  const { io } = setting;
  const { url, cluster } = addressed(urlText, setting.options.cluster);
  const node = options.name ?? hostname().split('.')[0]?.toLowerCase() ?? '';
  if (!nameSchema.safeParse(node).success)
    throw new CliError(EXIT.usage, `“${node}” cannot be the name of a node`, {
      next: 'give one with --name: lower-case letters, digits, - _ .',
    });
  // Everything that can be wrong here is found before the token, which is good once, is spent.
  const policy = await policyText(options.allow);
  const reset = resetChoice(options.reset ?? 'none', options.watchdog);
  if ('problem' in reset) throw new CliError(EXIT.usage, reset.problem);
  const obstacle = resetObstacle(reset);
  if (obstacle !== undefined) throw new CliError(EXIT.refused, obstacle.what, { next: obstacle.next });
  const lan = options.lanAddress === undefined ? undefined : lanAddress(options.lanAddress);
  const { tokenFile } = setting.options;
  if (tokenFile === undefined)
    throw new CliError(EXIT.usage, 'join needs the one-time token', {
      next: 'give --token-file FILE, or --token-file - and the token on standard input; `holdfast node token create --node NAME` makes one',
    });
  const token = await readToken(tokenFile, io);
  const client = new Client({ url, cluster, token: undefined });
  const { stateDir } = options;
  const result = await joined(io.env, () =>
    joinCluster({
      stateDir,
      url: url.href,
      cluster,
      node,
      token,
      policy,
      lan,
      reset: { text: resetFileText(reset), chosen: options.reset !== undefined },
      enrol: async (body) => {
        const request = { method: 'POST', path: routes.enrol(cluster), body, advice: ADVICE } as const;
        return (await client.call(enrolledSchema, request)).value;
      },
    }),
  );
  const outcome = result.outcome;
  if (!setting.json)
    io.data(
      outcome === 'joined'
        ? `joined: this machine is node ${node} of cluster ${cluster}`
        : `already joined: this machine is node ${node} of cluster ${cluster}; nothing was changed`,
    );
  const files = identityFiles(stateDir);
  if (result.outcome === 'already-joined' && lan !== undefined && !sameLan(lan, result.identity.lan))
    io.note(`--lan-address was not applied: to change it, edit \`lan\` in ${files.node} and restart the agent`);
  if (result.outcome === 'already-joined' && options.reset !== undefined)
    io.note(`--reset was not applied: ${resetFile(stateDir)} says how to change it`);
  if (result.outcome === 'joined') {
    const { policy: path } = files;
    if (reset.kind !== 'none')
      io.note(
        `${resetFile(stateDir)} says that this machine is reset (--reset=${reset.kind}) when something held cannot be taken away`,
      );
    io.note(
      result.policy === 'written'
        ? `${path} says what this node may be asked to run`
        : `${path} was there and is kept as it is; --allow was not applied`,
    );
    io.note(
      `its agent listens for the other nodes on UDP port ${lan?.port ?? PEER_PORT} of ${lan?.address ?? 'every address'}; let that through between the nodes`,
    );
  }
  const unit = unitsArePackaged(stateDir) ? await startUnit() : undefined;
  if (setting.json) {
    const agent = unit === undefined ? {} : { agent: unit.outcome };
    printJson(io, { schema: 'holdfast/joined/v1', cluster, node, stateDir, outcome, ...agent });
  }
  io.note(whatNext(unit, stateDir, reset));
}

/** @throws {CliError} when the package's unit does not start; the node has joined all the same. */
function whatNext(unit: UnitStart | undefined, stateDir: string, reset: ResetChoice): string {
  const options = guardArguments(reset)
    .map((option) => ` ${option}`)
    .join('');
  switch (unit?.outcome) {
    case undefined:
      return stateDir === DEFAULT_STATE_DIR
        ? `next: systemctl enable --now holdfast, or without a unit: holdfast agent${options}`
        : `next: holdfast agent --state-dir ${stateDir}${options}`;
    case 'started':
      return 'its agent runs, now and after every boot (holdfast.service)\nnext: holdfast doctor';
    case 'starts-at-boot':
      return 'systemd does not run here: the agent starts at the next boot (holdfast.service)';
    case 'failed':
      throw new CliError(EXIT.refused, `this machine has joined, but its agent does not start: ${unit.why}`, {
        next: 'journalctl -u holdfast -n 20 says why; when that is mended: systemctl enable --now holdfast',
      });
    default:
      return unit satisfies never;
  }
}

/** A machine that is to use a proxy is not expected to reach the coordinator without. */
function withProxy(error: CliError, env: Io['env']): CliError {
  if (isByDate(error.cause)) return error;
  const proxy = ['https_proxy', 'HTTPS_PROXY', 'http_proxy', 'HTTP_PROXY'].find((name) => (env[name] ?? '') !== '');
  if (proxy === undefined) return error;
  return new CliError(error.exit, `${error.message}; ${proxy} is set, and Holdfast uses no proxy`, {
    next: 'let this machine reach the coordinator directly: its agent needs that all the time; then run the same join again',
    cause: error,
  });
}

function sameLan(asked: LanAddress, has: NodeFile['lan']): boolean {
  const { address, port } = has ?? { port: PEER_PORT };
  if (asked.port !== port) return false;
  return asked.address === undefined || address === undefined
    ? asked.address === address
    : sameAddress(asked.address, address);
}

/** `https://host/shop`, or `https://host` with --cluster. */
function addressed(text: string, clusterOption: string | undefined): { url: URL; cluster: string } {
  const url = coordinatorUrl(text);
  const segments = url.pathname.split('/').filter((segment) => segment !== '');
  let cluster = clusterOption;
  const last = segments.at(-1);
  if (last !== undefined && (cluster === undefined || last === cluster)) {
    cluster = last;
    url.pathname = `/${segments
      .slice(0, -1)
      .map((segment) => `${segment}/`)
      .join('')}`;
  }
  if (cluster === undefined)
    throw new CliError(EXIT.usage, 'which cluster?', {
      next: `write it behind the URL, ${url.href}CLUSTER, or give --cluster`,
    });
  if (!nameSchema.safeParse(cluster).success)
    throw new CliError(EXIT.usage, `“${cluster}” is not the name of a cluster`);
  return { url, cluster };
}

async function policyText(allow: readonly string[]): Promise<string> {
  const { renderPolicy } = await import('../agent/policy.ts');
  try {
    return renderPolicy(allow);
  } catch (error) {
    throw new CliError(EXIT.usage, textOf(error), {
      next: '--allow takes vip=CIDR, drbd=NAME, mount=DIRECTORY, service=UNIT, ocf=provider:type, ocf=provider:type:parameter=value; `holdfast join --help` has examples',
      cause: error,
    });
  }
}

async function joined<T>(env: Io['env'], attempt: () => Promise<T>): Promise<T> {
  try {
    return await attempt();
  } catch (error) {
    if (error instanceof CliError && error.exit === EXIT.unreachable) throw withProxy(error, env);
    if (error instanceof IdentityError) {
      const denied = error.reason === 'bad-token' || error.reason === 'not-the-coordinator';
      throw new CliError(denied ? EXIT.notAllowed : EXIT.refused, error.message, { cause: error });
    }
    if (error instanceof FileWriteError || STATE_DIR_TROUBLE.has(errnoOf(error) ?? ''))
      throw new CliError(EXIT.refused, textOf(error), {
        next: 'join runs as root, or with a --state-dir that it can write to; the same token can be used again from here',
        cause: error,
      });
    throw error;
  }
}

export const registerJoin: Register = (program, io) => {
  program
    .command('join')
    .argument('<url>', 'the coordinator, with the cluster behind it: https://host/CLUSTER')
    .option('--name <node>', 'name of this node (default: the host name)')
    .option(
      '--allow <what>',
      'what this node may be asked to run: vip=CIDR, drbd=NAME, mount=DIRECTORY, service=UNIT, ocf=provider:type[:parameter=value]; repeatable (default: addresses of its own subnets and the DRBD resources of its own /etc/drbd.d)',
      (one: string, all: string[]) => [...all, one],
      [],
    )
    .option(
      '--lan-address <ip[:port]>',
      `where its agent listens for the other nodes (default: every address, UDP port ${PEER_PORT})`,
    )
    .option(...RESET_OPTION)
    .option(...WATCHDOG_OPTION)
    .option('--state-dir <dir>', 'where key, identity and policy are kept', DEFAULT_STATE_DIR)
    .description(
      'Make this machine a node: makes a key pair, enrols it with the token in --token-file, writes its files',
    )
    .addHelpText(
      'after',
      `
Agents promise each other over the LAN to keep out of what another runs, so that services go on while the coordinator is away. For that each
listens on UDP port ${PEER_PORT} of every address, or where --lan-address says; a firewall has to let it through between the nodes, both ways.
Without it everything works but that.

Examples:
  holdfast join https://ha.example.org/shop --token-file /root/token --name bob
  holdfast join https://ha.example.org/shop --token-file /root/token --lan-address 192.0.2.7
  holdfast join https://ha.example.org/shop --token-file /root/token \\
    --allow mount=/srv/mysql --allow service=mariadb.service
  holdfast join https://ha.example.org/shop --token-file - \\
    --allow vip=192.0.2.0/24 --allow ocf=heartbeat:nginx:configfile=/etc/nginx/*`,
    )
    .action((url: string, options: JoinOptions, command: Command) => join(settingOf(command, io), url, options));
};
