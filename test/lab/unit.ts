import type { Exit, Host, HostProcess, SpawnOptions } from './host.ts';

export interface UnitOptions extends SpawnOptions {
  /** `always` starts it again 100 ms after it ended, whatever the reason, as Restart=always does. The default. */
  restart?: 'always' | 'no';
  /** Started at every boot of the host. False when left out. */
  enabled?: boolean;
}

const restartPauseMs = 100;

/** A program kept running on a host. Other processes of its cgroup are left alone when it ends (KillMode=process). */
export class Unit {
  readonly name: string;
  readonly logFile: string | undefined;
  /** May be changed while it runs; `no` makes the next end the last. */
  restart: 'always' | 'no';
  enabled: boolean;
  /** How it ended, each time. */
  readonly exits: Exit[] = [];
  readonly #host: Host;
  readonly #argv: readonly string[];
  readonly #options: SpawnOptions;
  #process: HostProcess | undefined;
  #pause: NodeJS.Timeout | undefined;
  #held = false;

  constructor(host: Host, name: string, argv: readonly string[], options: UnitOptions) {
    const { restart, enabled, ...spawnOptions } = options;
    this.name = name;
    this.restart = restart ?? 'always';
    this.enabled = enabled ?? false;
    this.logFile = options.logFile;
    this.#host = host;
    this.#argv = argv;
    this.#options = { cgroup: `system.slice/${name}.service`, ...spawnOptions };
  }

  /** The running process, or undefined while there is none. */
  get process(): HostProcess | undefined {
    return this.#process?.running ? this.#process : undefined;
  }

  /** Resolves when the process exists; whether it is ready is its own affair. Does nothing if it runs. */
  async start(): Promise<void> {
    clearTimeout(this.#pause);
    this.#held = false;
    if (this.process) return;
    const started = await this.#host.spawn(this.#argv, this.#options);
    this.#process = started;
    const bootOf = () => (this.#host.state.is === 'on' ? this.#host.state.boot : undefined);
    const boot = bootOf();
    void started.exited.then((exit) => {
      this.exits.push(exit);
      if (this.#process !== started) return;
      this.#pause = setTimeout(() => {
        if (this.restart === 'no' || this.#held || bootOf() !== boot || this.process) return;
        this.start().catch((error: unknown) => {
          if (bootOf() === boot)
            process.stderr.write(`lab: unit ${this.name} on ${this.#host.name}: ${String(error)}\n`);
        });
      }, restartPauseMs);
    });
  }

  /** Ends it and keeps it ended until `start` is called: SIGTERM as `systemctl stop`, SIGKILL as "killed for good". */
  async stop(signal: 'SIGTERM' | 'SIGKILL' = 'SIGTERM'): Promise<void> {
    this.hold();
    const running = this.process;
    running?.kill(signal);
    await running?.exited;
  }

  /** From now on an end is not followed by a restart, until `start` is called or the host boots with it enabled. */
  hold(): void {
    this.#held = true;
    clearTimeout(this.#pause);
  }

  /** Sends a signal and lets `restart` decide what happens then. Does nothing while there is no process. */
  kill(signal: NodeJS.Signals): void {
    this.process?.kill(signal);
  }
}
