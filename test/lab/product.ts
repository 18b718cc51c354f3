/** Runs the product in a laboratory: coordinator on the arbiter, agents on the hosts, the command line on the arbiter. */
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Finished } from './command.ts';
import type { Host } from './host.ts';
import type { Lab } from './lab.ts';
import { repoRoot } from './paths.ts';
import type { Unit } from './unit.ts';
import { until } from './until.ts';

/** A proxy that nodes and operators speak to in the coordinator's place. */
export interface Front {
  /** What they are told. */
  url: string;
  /** Where the coordinator listens for it. */
  listen: string;
  /** What their programs need in their environment to trust it. */
  env: Readonly<Record<string, string>>;
}

export interface ProductOptions {
  /** The executable; <repository>/dist/holdfast when left out. Hosts see the repository, but not the machine's /tmp, /run, /srv, /root. */
  binary?: string;
  /** Name of the cluster; `lab` when left out. */
  cluster?: string;
  /** Whether the coordinator opens its test hooks (`shiftClock`); false when left out. */
  testHooks?: boolean;
  /** Nothing when left out: plain HTTP to the coordinator itself. */
  front?: Front;
}

/** An answer of the coordinator's API. */
export interface ApiAnswer {
  status: number;
  headers: Readonly<Record<string, string>>;
  // biome-ignore lint/suspicious/noExplicitAny: tests read fields of many answers
  body: any;
}

export interface EnrolOptions {
  /** Values of `holdfast join --allow`, for instance `service=mariadb.service`. */
  allow?: readonly string[];
  /** Whether to name the host's own LAN address with `--lan-address`; false when left out. */
  lanAddress?: boolean;
}

export interface AgentOptions {
  /** More arguments of `holdfast agent`. */
  args?: readonly string[];
  /** `always` when left out, as the packaged unit has it. */
  restart?: 'always' | 'no';
}

const dataDir = '/srv/coordinator';
const stateDir = '/var/lib/holdfast';

export class Product {
  readonly binary: string;
  readonly cluster: string;
  readonly url: string;
  /** The coordinator's data directory, as the arbiter sees it. */
  readonly dataDir = dataDir;
  readonly #lab: Lab;
  readonly #env: Readonly<Record<string, string>>;
  readonly #coordinator: Unit;
  readonly #agents = new Map<string, Unit>();
  /** What the coordinator wrote to standard output: one line each time it became ready. */
  readonly #ready: string[] = [];

  private constructor(lab: Lab, options: ProductOptions) {
    const listen = options.front?.listen ?? `${lab.arbiter.address('uplink')}:8443`;
    this.#lab = lab;
    this.binary = options.binary ?? join(repoRoot, 'dist/holdfast');
    this.cluster = options.cluster ?? 'lab';
    this.url = options.front?.url ?? `http://${listen}`;
    this.#env = options.front?.env ?? {};
    this.#coordinator = lab.arbiter.unit(
      'holdfast-coordinator',
      [this.binary, 'serve', '--listen', listen, '--data', dataDir],
      {
        restart: 'no',
        onLine: (line) => this.#ready.push(line),
        ...(options.testHooks === true ? { env: { HOLDFAST_TEST_HOOKS: '1' } } : {}),
      },
    );
  }

  /** Throws if the product has not been built. */
  static async create(lab: Lab, options: ProductOptions = {}): Promise<Product> {
    const product = new Product(lab, options);
    if ((await stat(product.binary).catch(() => undefined)) === undefined) {
      throw new Error(`${product.binary} is missing: run "npm run build" first`);
    }
    return product;
  }

  /** The coordinator's unit, for tests that stop, kill or freeze it. */
  get coordinator(): Unit {
    return this.#coordinator;
  }

  /** Starts the coordinator and waits for the line that says it is ready. */
  async startCoordinator(deadlineMs = 15_000): Promise<void> {
    const before = this.#ready.length;
    await this.#coordinator.start();
    const { logFile = '' } = this.#coordinator;
    await until(() => this.#ready.length > before || this.#coordinator.process === undefined, {
      deadlineMs,
      what: `the coordinator's ready line (its standard error: ${logFile})`,
    });
    if (this.#coordinator.process === undefined)
      throw new Error(`the coordinator ended: ${await readFile(logFile, 'utf8')}`);
  }

  /** Ends the coordinator in order, or with SIGKILL. Its data stays. */
  async stopCoordinator(signal: 'SIGTERM' | 'SIGKILL' = 'SIGTERM'): Promise<void> {
    await this.#coordinator.stop(signal);
  }

  async restartCoordinator(signal: 'SIGTERM' | 'SIGKILL' = 'SIGTERM'): Promise<void> {
    await this.stopCoordinator(signal);
    await this.startCoordinator();
  }

  /** Runs `holdfast ARGS` on the arbiter, as the cluster's administrator. */
  async cli(args: readonly string[], options: { input?: string; deadlineMs?: number } = {}): Promise<Finished> {
    const env = {
      ...this.#env,
      HOLDFAST_URL: this.url,
      HOLDFAST_CLUSTER: this.cluster,
      HOLDFAST_TOKEN_FILE: `${dataDir}/admin.token`,
      NO_COLOR: '1',
    };
    return await this.#lab.arbiter.exec([this.binary, ...args], { env, ...options });
  }

  /** As `cli`, but anything other than exit code 0 throws, with what the command said. Returns its standard output. */
  async mustCli(args: readonly string[], options: { input?: string; deadlineMs?: number } = {}): Promise<string> {
    const done = await this.cli(args, options);
    if (done.code !== 0)
      throw new Error(`holdfast ${args.join(' ')} failed (${done.signal ?? done.code}): ${done.stderr.trim()}`);
    return done.stdout;
  }

  /** One request to the API, as the administrator: for what the command line never sends. A body that is no text goes as JSON. */
  async api(
    method: string,
    path: string,
    body?: unknown,
    headers: Readonly<Record<string, string>> = {},
  ): Promise<ApiAnswer> {
    const { arbiter } = this.#lab;
    const token = (await arbiter.readFile(`${dataDir}/admin.token`)).trim();
    const json = body !== undefined && typeof body !== 'string';
    const request = {
      url: `${this.url}${path}`,
      method,
      headers: {
        authorization: `Bearer ${token}`,
        ...(json ? { 'content-type': 'application/json' } : {}),
        ...headers,
      },
      body: json ? JSON.stringify(body) : body,
    };
    const script = join(import.meta.dirname, 'api-probe.ts');
    const answer = await arbiter.mustExec([process.execPath, script], { input: JSON.stringify(request) });
    return JSON.parse(answer) as ApiAnswer;
  }

  /** Test hook: shifts the coordinator's clock against its machine's; not cumulative, and gone when it restarts. */
  async shiftClock(offsetMs: number): Promise<void> {
    const { status, body } = await this.api('POST', '/v1/test/clock', { offsetMs });
    if (status !== 200) throw new Error(`the clock was not shifted: ${status} ${JSON.stringify(body)}`);
  }

  async createCluster(): Promise<void> {
    await this.mustCli(['cluster', 'create', this.cluster]);
  }

  /** Applies a configuration document, given as text. */
  async apply(document: string): Promise<void> {
    const file = '/srv/document.yaml';
    await this.#lab.arbiter.writeFile(file, document);
    await this.mustCli(['apply', file, '--yes']);
  }

  /** `holdfast apply --wait`: what it says, and how it ends. */
  async applyWaiting(document: string, wait: string): Promise<Finished> {
    const file = '/srv/document.yaml';
    await this.#lab.arbiter.writeFile(file, document);
    return await this.cli(['apply', file, '--yes', '--wait', wait], { deadlineMs: 120_000 });
  }

  /** Makes a host a node: a one-time token from the coordinator, then `holdfast join` on the host. */
  async enrol(host: Host, options: EnrolOptions = {}): Promise<void> {
    const token = await this.mustCli(['node', 'token', 'create', '--node', host.name]);
    const file = '/run/holdfast-join-token';
    await host.writeFile(file, token, 0o600);
    const allow = (options.allow ?? []).flatMap((value) => ['--allow', value]);
    const lan = (options.lanAddress ?? false) ? ['--lan-address', host.address('lan')] : [];
    const own = ['--name', host.name, ...lan, '--state-dir', stateDir];
    const env = { ...this.#env, HOLDFAST_CLUSTER: this.cluster };
    await host.mustExec([this.binary, 'join', `${this.url}/${this.cluster}`, '--token-file', file, ...own, ...allow], {
      env,
    });
  }

  /** Starts `holdfast agent` as a unit that also starts at every boot. Resolves when its process exists. */
  async startAgent(host: Host, options: AgentOptions = {}): Promise<Unit> {
    const argv = [this.binary, 'agent', '--state-dir', stateDir, ...(options.args ?? [])];
    const unit =
      this.#agents.get(host.name) ??
      host.unit('holdfast', argv, {
        restart: options.restart ?? 'always',
        enabled: true,
        env: this.#env,
      });
    this.#agents.set(host.name, unit);
    await unit.start();
    return unit;
  }

  /** The agent's unit of a host. Throws if it was never started. */
  agent(host: Host): Unit {
    const unit = this.#agents.get(host.name);
    if (unit === undefined) throw new Error(`no agent was ever started on ${host.name}`);
    return unit;
  }
}
