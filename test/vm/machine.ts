/** A virtual machine: a real kernel, systemd, two disks and two network cards, emulated by QEMU. Commands reach it by ssh. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync } from 'node:fs';
import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Finished, mustRun, until, within } from '../lab/index.ts';
import { DATA_SIZE, type Image } from './image.ts';
import { type LinkName, linkNames, type Network, networks } from './network.ts';
import { type ExecOptions, Shell } from './shell.ts';
import type { Tools } from './tools.ts';

const MEMORY_MIB = 768;
/** An emulated boot takes 15 s on an idle core; two at once on a busy machine take a multiple. */
const BOOT_MS = 180_000;

export interface MachineOptions {
  readonly name: string;
  /** Last part of its addresses. */
  readonly number: number;
  /** A directory of its own, for disks and console. */
  readonly dir: string;
  readonly image: Image;
  readonly tools: Tools;
  readonly network: Network;
  /** Its second disk is empty, not a copy of the image's. */
  readonly emptyDisk?: boolean;
  /** It has an i6300esb, which switches it off in place of resetting it, so that the instant is known; and the kernel with its driver. */
  readonly hardwareWatchdog?: boolean;
}

export class Machine {
  readonly name: string;
  readonly number: number;
  /** Everything that kernel and journal wrote, of all boots. */
  readonly consoleFile: string;
  readonly #options: MachineOptions;
  readonly #cut = new Set<LinkName>();
  readonly #shells: Readonly<Record<LinkName, Shell>>;
  #qemu: ChildProcess | undefined;

  private constructor(options: MachineOptions) {
    this.#options = options;
    this.name = options.name;
    this.number = options.number;
    this.consoleFile = join(options.dir, 'console.log');
    const { image, tools, network, dir } = options;
    const shell = (link: LinkName) =>
      new Shell({
        argv: network.inside([tools.path('ssh')]),
        env: tools.env,
        key: image.sshKey,
        address: this.address(link),
        socket: join(dir, `ssh-${link}`),
      });
    this.#shells = { lan: shell('lan'), replication: shell('replication') };
  }

  /** Makes its disks and lays its cables. It is off. */
  static async create(options: MachineOptions): Promise<Machine> {
    await mkdir(options.dir, { recursive: true });
    const { image, dir, emptyDisk = false } = options;
    await mustRun(['cp', '--sparse=always', image.rootDisk, join(dir, 'root.ext4')]);
    const dataDisk = join(dir, 'data.ext4');
    if (emptyDisk) await mustRun(['truncate', '-s', DATA_SIZE, dataDisk]);
    else await mustRun(['cp', '--sparse=always', image.dataDisk, dataDisk]);
    await options.network.plug(options.number);
    return new Machine(options);
  }

  get on(): boolean {
    return this.#qemu !== undefined;
  }

  address(link: LinkName): string {
    return `${networks[link].ipv4}${this.number}`;
  }

  /** Switches it on. Resolves when it takes commands. */
  async start(): Promise<void> {
    this.switchOn();
    await this.ready();
  }

  /** Switches it on and returns at once. */
  switchOn(): void {
    if (this.#qemu !== undefined) throw new Error(`${this.name} is on already`);
    const { dir, tools, network } = this.#options;
    const log = openSync(join(dir, 'qemu.log'), 'a');
    try {
      const [program = '', ...args] = network.inside([tools.path('qemu-system-x86_64'), ...this.#arguments()]);
      const qemu = spawn(program, args, { env: tools.qemuEnv, stdio: ['ignore', log, log] });
      qemu.unref();
      qemu.once('exit', () => {
        for (const link of linkNames) this.#shells[link].close();
        if (this.#qemu === qemu) this.#qemu = undefined;
      });
      this.#qemu = qemu;
    } finally {
      closeSync(log);
    }
  }

  #arguments(): string[] {
    const { dir, image, network, name, number, hardwareWatchdog = false } = this.#options;
    const kernel = image.kernels[hardwareWatchdog ? 'hardware' : 'cloud'];
    // Writes go to the file at once and a flush does nothing: what the machine has written survives its process, what it only
    // remembers does not. The file's own fate after a power cut of the real machine is nobody's concern.
    const disk = (file: string) => `file=${join(dir, file)},format=raw,if=virtio,cache=unsafe`;
    const hex = number.toString(16).padStart(2, '0');
    const cards = linkNames.flatMap((link) => [
      '-netdev',
      `tap,id=${link},ifname=${network.port(link, number)},script=no,downscript=no`,
      '-device',
      `virtio-net-pci,netdev=${link},mac=${networks[link].mac}${hex},romfile=`,
    ]);
    const kernelWords = ['console=ttyS0', 'quiet', 'panic=-1', 'net.ifnames=0', 'mitigations=off', 'tsc=reliable'];
    kernelWords.push('no_timer_check', `vm.name=${name}`, `vm.number=${number}`);
    return [
      ...['-nodefaults', '-no-user-config', '-display', 'none', '-machine', 'q35', '-cpu', 'max', '-smp', '1'],
      ...['-accel', 'tcg,thread=multi,tb-size=256', '-m', String(MEMORY_MIB)],
      ...['-kernel', kernel.image, '-initrd', kernel.initramfs, '-append', kernelWords.join(' ')],
      ...['-chardev', `file,id=console,path=${this.consoleFile},append=on`, '-serial', 'chardev:console'],
      ...['-drive', disk('root.ext4'), '-drive', disk('data.ext4')],
      ...cards,
      ...(hardwareWatchdog ? ['-device', 'i6300esb', '-action', 'watchdog=reset,reboot=shutdown'] : []),
    ];
  }

  /** Pulls the plug: nothing that it has in memory gets to a disk or a cable any more. */
  async powerCut(): Promise<void> {
    const qemu = this.#qemu;
    if (qemu === undefined) return;
    const gone = once(qemu, 'exit');
    qemu.kill('SIGKILL');
    await within(gone, { deadlineMs: 10_000, what: `${this.name} to lose power` });
  }

  /** Resolves when it has switched itself off. */
  async off(deadlineMs: number): Promise<void> {
    await until(() => !this.on, { deadlineMs, everyMs: 5, what: `${this.name} to be off` });
  }

  /** Switches it off in order, as `systemctl poweroff` does. */
  async stop(deadlineMs = BOOT_MS): Promise<void> {
    const qemu = this.#qemu;
    if (qemu === undefined) return;
    const gone = once(qemu, 'exit');
    await this.exec('systemctl poweroff');
    await within(gone, { deadlineMs, what: `${this.name} to switch itself off` });
  }

  /** `systemctl reboot`. Resolves when it takes commands again. */
  async reboot(): Promise<void> {
    const before = await this.bootId();
    await this.exec('systemctl reboot');
    await until(async () => (await this.#bootIdIfThere()) !== before, {
      deadlineMs: BOOT_MS,
      everyMs: 250,
      what: `${this.name} to be back after its reboot`,
    });
  }

  /** Stops the whole machine in the middle of what it does, as a hypervisor may that is out of breath. */
  freeze(): void {
    this.#qemu?.kill('SIGSTOP');
  }

  thaw(): void {
    this.#qemu?.kill('SIGCONT');
  }

  /** Pulls a cable, out here. */
  async cut(link: LinkName): Promise<void> {
    this.#cut.add(link);
    await this.#options.network.cut(link, this.number);
  }

  async mend(link: LinkName): Promise<void> {
    this.#cut.delete(link);
    await this.#options.network.mend(link, this.number);
  }

  /** Takes the replicated disk out of the running machine; it is there again when the machine is switched on. */
  async pullDisk(): Promise<void> {
    await this.mustExec('echo 1 > "$(dirname "$(readlink -f /sys/block/vdb/device)")/remove"');
  }

  /** Makes what leaves the machine late and lossy, by its own kernel (netem). */
  async impair(link: LinkName, { delayMs, lossPercent }: { delayMs: number; lossPercent: number }): Promise<void> {
    const { interface: card } = networks[link];
    await this.mustExec(`tc qdisc replace dev ${card} root netem delay ${delayMs}ms loss ${lossPercent}%`);
  }

  async unimpair(link: LinkName): Promise<void> {
    await this.mustExec(`tc qdisc del dev ${networks[link].interface} root`);
  }

  /** How many packets that has cost since. */
  async dropped(link: LinkName): Promise<number> {
    const said = await this.mustExec(`tc -s qdisc show dev ${networks[link].interface} root`);
    return Number(/dropped (\d+)/.exec(said)?.[1]);
  }

  async bootId(): Promise<string> {
    return (await this.mustExec('cat /proc/sys/kernel/random/boot_id')).trim();
  }

  async #bootIdIfThere(): Promise<string> {
    const asked = await this.exec('cat /proc/sys/kernel/random/boot_id', { deadlineMs: 5_000 });
    if (asked.code !== 0) throw new Error(asked.stderr.trim());
    return asked.stdout.trim();
  }

  /** Resolves when it takes commands. */
  async ready(deadlineMs = BOOT_MS): Promise<void> {
    await until(
      async () => {
        if (!this.on) throw new Error(`QEMU ended: ${await readFile(join(this.#options.dir, 'qemu.log'), 'utf8')}`);
        return await this.#bootIdIfThere();
      },
      { deadlineMs, everyMs: 250, what: `${this.name} to boot (its console: ${this.consoleFile})` },
    );
  }

  /** Runs a command of its shell to the end. Throws when it cannot be reached. */
  async exec(command: string, options: ExecOptions = {}): Promise<Finished> {
    // one of the cables may be cut
    return await this.#shells[this.#cut.has('lan') ? 'replication' : 'lan'].exec(command, options);
  }

  /** As `exec`, but anything other than exit code 0 throws, with what the command said. Returns its standard output. */
  async mustExec(command: string, options: ExecOptions = {}): Promise<string> {
    const done = await this.exec(command, options);
    if (done.code !== 0)
      throw new Error(
        `on ${this.name}: ${command} failed (${done.signal ?? done.code}): ${(done.stderr || done.stdout).trim()}`,
      );
    return done.stdout;
  }

  /** Copies a file of this machine into it; its directory has to be there. */
  async copyIn(file: string, path: string): Promise<void> {
    await this.write(path, await readFile(file));
  }

  async write(path: string, content: string | Buffer): Promise<void> {
    await this.mustExec(`cat > ${path}`, { input: content, deadlineMs: 120_000 });
  }

  /** What it wrote on its console since it was first switched on. */
  async console(): Promise<string> {
    return await readFile(this.consoleFile, 'utf8').catch(() => '');
  }
}
