/** The product on virtual machines: its coordinator in the network's namespace, its packages on the machines, its command line. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync } from 'node:fs';
import { access, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Status, Why } from '../../schemas/api.ts';
import type { ClusterEvent } from '../../schemas/events.ts';
import type { IncidentStory } from '../../schemas/incident.ts';
import { type Finished, mustRun, run, until, within } from '../lab/index.ts';
import type { Machine } from './machine.ts';
import { type Network, networks } from './network.ts';
import { debFile } from './packages.ts';
import { distDir } from './paths.ts';

const CLUSTER = 'shop';
const LISTEN = `${networks.lan.ipv4}1:8443`;

export class Product {
  readonly url = `http://${LISTEN}`;
  /** What the coordinator wrote. */
  readonly logFile: string;
  readonly #network: Network;
  readonly #dataDir: string;
  readonly #binary = join(distDir, 'holdfast');
  readonly #package: string;
  #coordinator: ChildProcess | undefined;

  private constructor(network: Network, dir: string, file: string) {
    this.#network = network;
    this.#dataDir = join(dir, 'coordinator');
    this.logFile = join(dir, 'coordinator.log');
    this.#package = file;
  }

  /** @param dir where the coordinator's data are. Throws if the product has not been built and packaged. */
  static async create(network: Network, dir: string): Promise<Product> {
    const product = new Product(network, dir, debFile('holdfast'));
    await access(product.#binary);
    await mkdir(dir, { recursive: true });
    return product;
  }

  async startCoordinator(deadlineMs = 30_000): Promise<void> {
    const log = openSync(this.logFile, 'a');
    const serve = [this.#binary, 'serve', '--listen', LISTEN, '--data', this.#dataDir];
    const [program = '', ...args] = this.#network.inside(serve);
    const coordinator = spawn(program, args, { stdio: ['ignore', 'pipe', log] });
    closeSync(log);
    this.#coordinator = coordinator;
    const { stdout } = coordinator;
    if (stdout === null) throw new Error('the coordinator has no output');
    const ready = once(createInterface(stdout), 'line');
    const ended = once(coordinator, 'exit').then(([code]) => {
      throw new Error(`the coordinator ended (${code}): ${this.logFile}`);
    });
    ended.catch(() => {
      // it is stopped in the end; before that, the race below tells
    });
    await within(Promise.race([ready, ended]), { deadlineMs, what: 'the coordinator to be ready' });
    coordinator.unref();
    stdout.destroy();
  }

  async stopCoordinator(): Promise<void> {
    const coordinator = this.#coordinator;
    this.#coordinator = undefined;
    if (coordinator === undefined || coordinator.exitCode !== null || coordinator.signalCode !== null) return;
    const gone = once(coordinator, 'exit');
    coordinator.kill('SIGTERM');
    await within(gone, { deadlineMs: 15_000, what: 'the coordinator to end' });
  }

  /** Runs `holdfast ARGS` as the cluster's administrator. */
  async cli(args: readonly string[]): Promise<Finished> {
    const env = {
      ...process.env,
      HOLDFAST_URL: this.url,
      HOLDFAST_CLUSTER: CLUSTER,
      HOLDFAST_TOKEN_FILE: join(this.#dataDir, 'admin.token'),
      NO_COLOR: '1',
    };
    return await run(this.#network.inside([this.#binary, ...args]), { env });
  }

  /** As `cli`, but anything other than exit code 0 throws, with what the command said. Returns its standard output. */
  async mustCli(args: readonly string[]): Promise<string> {
    const done = await this.cli(args);
    if (done.code !== 0)
      throw new Error(`holdfast ${args.join(' ')} failed (${done.signal ?? done.code}): ${done.stderr.trim()}`);
    return done.stdout;
  }

  async createCluster(): Promise<void> {
    await this.mustCli(['cluster', 'create', CLUSTER]);
  }

  /** Installs the package, or a newer one, as its administrator would. */
  async install(machine: Machine, file = this.#package): Promise<void> {
    await machine.copyIn(file, '/root/holdfast.deb');
    await machine.mustExec('dpkg --install /root/holdfast.deb && rm /root/holdfast.deb', { deadlineMs: 180_000 });
  }

  /** `holdfast join`, which starts the agent. */
  async join(machine: Machine, allow: readonly string[], options: readonly string[] = []): Promise<void> {
    const token = await this.mustCli(['node', 'token', 'create', '--node', machine.name]);
    const words = [...allow.map((value) => ` --allow '${value}'`), ...options.map((option) => ` ${option}`)].join('');
    await machine.mustExec(
      `holdfast join ${this.url}/${CLUSTER} --name ${machine.name} --token-file - --json${words}`,
      { input: token, deadlineMs: 120_000 },
    );
  }

  async apply(file: string): Promise<void> {
    await this.mustCli(['apply', file, '--yes']);
  }

  async status(): Promise<Status> {
    return JSON.parse(await this.mustCli(['status', '--json'])) as Status;
  }

  async why(group: string): Promise<Why> {
    return JSON.parse(await this.mustCli(['why', group, '--json'])) as Why;
  }

  /** The newest story. */
  async incident(): Promise<IncidentStory> {
    return JSON.parse(await this.mustCli(['incident', 'show', 'last', '--json'])) as IncidentStory;
  }

  async events(): Promise<ClusterEvent[]> {
    const lines = (await this.mustCli(['events', '--since', '1970-01-01T00:00:00Z', '--json'])).split('\n');
    return lines.filter((line) => line !== '').map((line) => JSON.parse(line) as ClusterEvent);
  }

  /** Waits until the group is in this state, on this node if one is named; @returns its owner ('' for none). */
  async settled(
    group: string,
    state: Status['groups'][string]['state'],
    { on, deadlineMs = 90_000 }: { on?: string; deadlineMs?: number } = {},
  ): Promise<string> {
    let last: Status['groups'][string] | undefined;
    const there = async () => {
      last = (await this.status()).groups[group];
      return last?.state === state && (on === undefined || last.owner === on);
    };
    const what = `group ${group} to be ${state}${on === undefined ? '' : ` on ${on}`}`;
    try {
      await until(there, { deadlineMs, everyMs: 250, what });
    } catch (error) {
      throw new Error(`${error instanceof Error ? error.message : error}; it is ${JSON.stringify(last)}`, {
        cause: error,
      });
    }
    return last?.owner ?? '';
  }

  /** Waits until the group runs and every node could take it, so that a fault meets a healthy cluster. */
  async healthy(group: string, deadlineMs = 300_000): Promise<void> {
    let last: Why | undefined;
    const able = async () => {
      last = await this.why(group);
      return (
        last.state === 'running' && last.candidates.length > 1 && last.candidates.every(({ eligible }) => eligible)
      );
    };
    try {
      await until(able, { deadlineMs, everyMs: 500, what: `every node to be able to take ${group}` });
    } catch (error) {
      const said = `it is ${last?.state}: ${JSON.stringify(last?.candidates)}`;
      throw new Error(`${error instanceof Error ? error.message : error}; ${said}`, { cause: error });
    }
  }

  /** What the coordinator tells, for the one who looks at a scenario that failed. */
  async story(): Promise<string> {
    const parts = [['status'], ['why', 'db'], ['events', '--since', '1970-01-01T00:00:00Z']];
    const said = await Promise.all(parts.map(async (args) => await this.cli(args)));
    return said
      .map(({ stdout, stderr }, index) => `=== holdfast ${parts[index]?.join(' ')}\n${stdout}${stderr}`)
      .join('\n');
  }

  /** The page that the web server behind an address shows. */
  async page(address: string): Promise<string> {
    const program = `fetch('http://${address}/').then(async (page) => process.stdout.write(await page.text()))`;
    return (await mustRun(this.#network.inside([process.execPath, '-e', program]))).trim();
  }
}
