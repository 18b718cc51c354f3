/** `join`: what makes a machine a node. */
import { hostname } from 'node:os';
import type { Command } from 'commander';
import { enrolledSchema } from '../../schemas/api.ts';
import { nameSchema } from '../../schemas/names.ts';
import { DEFAULT_STATE_DIR, IdentityError, identityFiles, joinCluster } from '../agent/identity.ts';
import { errnoOf, FileWriteError } from '../system/index.ts';
import { Client } from './client.ts';
import { coordinatorUrl, readToken } from './context.ts';
import { CliError, EXIT } from './exit.ts';
import { routes } from './routes.ts';
import { printJson, type Register, type Setting, settingOf } from './setting.ts';

interface JoinOptions {
  readonly name?: string;
  readonly allow: readonly string[];
  readonly stateDir: string;
}

const ADVICE = {
  unreachable: 'check the URL and the network, and run the same join again: the token has not been used',
  unknown: 'run the same join again: with the key that this machine has made, the token is taken once more',
} as const;

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
  const { tokenFile } = setting.options;
  if (tokenFile === undefined)
    throw new CliError(EXIT.usage, 'join needs the one-time token', {
      next: 'give --token-file FILE, or --token-file - and the token on standard input; `holdfast node token create --node NAME` makes one',
    });
  const token = await readToken(tokenFile, io);
  const client = new Client({ url, cluster, token: undefined });
  const { stateDir } = options;
  const result = await joined(() =>
    joinCluster({
      stateDir,
      url: url.href,
      cluster,
      node,
      token,
      policy,
      enrol: async (body) => {
        const request = { method: 'POST', path: routes.enrol(cluster), body, advice: ADVICE } as const;
        return (await client.call(enrolledSchema, request)).value;
      },
    }),
  );
  const outcome = result.outcome;
  if (setting.json) printJson(io, { schema: 'holdfast/joined/v1', cluster, node, stateDir, outcome });
  else
    io.data(
      outcome === 'joined'
        ? `joined: this machine is node ${node} of cluster ${cluster}`
        : `already joined: this machine is node ${node} of cluster ${cluster}; nothing was changed`,
    );
  if (result.outcome === 'joined') {
    const { policy: path } = identityFiles(stateDir);
    io.note(
      result.policy === 'written'
        ? `${path} says what this node may be asked to run`
        : `${path} was there and is kept as it is; --allow was not applied`,
    );
  }
  io.note(`next: holdfast agent${stateDir === DEFAULT_STATE_DIR ? '' : ` --state-dir ${stateDir}`}`);
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
    throw new CliError(EXIT.usage, error instanceof Error ? error.message : String(error), {
      next: '--allow takes vip=CIDR, mount=DIRECTORY, service=UNIT, ocf=provider:type, ocf=provider:type:parameter=value; `holdfast join --help` has examples',
      cause: error,
    });
  }
}

async function joined<T>(attempt: () => Promise<T>): Promise<T> {
  try {
    return await attempt();
  } catch (error) {
    if (error instanceof IdentityError) throw new CliError(EXIT.refused, error.message, { cause: error });
    if (error instanceof FileWriteError || errnoOf(error) === 'EACCES' || errnoOf(error) === 'EROFS')
      throw new CliError(EXIT.refused, error instanceof Error ? error.message : String(error), {
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
      'what this node may be asked to run; repeatable',
      (one: string, all: string[]) => [...all, one],
      [],
    )
    .option('--state-dir <dir>', 'where key, identity and policy are kept', DEFAULT_STATE_DIR)
    .description(
      'Make this machine a node: makes a key pair, enrols it with the token in --token-file, writes its files',
    )
    .addHelpText(
      'after',
      `
Examples:
  holdfast join https://ha.example.org/shop --token-file /root/token --name bob
  holdfast join https://ha.example.org/shop --token-file - \\
    --allow vip=192.0.2.0/24 --allow ocf=heartbeat:nginx:configfile=/etc/nginx/*`,
    )
    .action((url: string, options: JoinOptions, command: Command) => join(settingOf(command, io), url, options));
};
