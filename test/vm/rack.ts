/** Virtual machines and their cables, below one directory. Everything it makes ends with `close`, or with this process. */
import { existsSync } from 'node:fs';
import { copyFile, mkdir, readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Image, prepareImage } from './image.ts';
import { Machine } from './machine.ts';
import { Network } from './network.ts';
import { cacheDir } from './paths.ts';
import { prepareTools, type Tools } from './tools.ts';

/** The disks of the machines are here while they run. A short path, because sockets are below it. */
const RUNS = process.env.HOLDFAST_LAB_DIR ?? '/var/tmp';
const FIRST_NUMBER = 11;

/** What a machine says of itself when a scenario has failed; first where the kernel waits. */
const FACTS = `cat /proc/drbd; ps -eo pid,ppid,stat,rtprio,args
for pid in $(ps -eo pid=,stat= | awk '$2 ~ /^D/ {print $1}'); do echo "== $pid $(cat /proc/$pid/comm)"; cat /proc/$pid/stack; done
ip addr; journalctl --no-pager -b -o short-precise`;

export interface RackOptions {
  /** In this order they have the numbers 11, 12 and so on. */
  readonly names: readonly string[];
  /** Their second disks are empty, not copies of the image's. */
  readonly emptyDisks?: boolean;
  /** They have a watchdog that is a device, see `MachineOptions`. */
  readonly hardwareWatchdogs?: boolean;
}

export class Rack {
  readonly dir: string;
  readonly tools: Tools;
  readonly image: Image;
  readonly network: Network;
  readonly machines: readonly Machine[];

  private constructor(parts: {
    dir: string;
    tools: Tools;
    image: Image;
    network: Network;
    machines: readonly Machine[];
  }) {
    this.dir = parts.dir;
    this.tools = parts.tools;
    this.image = parts.image;
    this.network = parts.network;
    this.machines = parts.machines;
  }

  /** Makes disks and cables. The machines are off. */
  static async create({ names, emptyDisks = false, hardwareWatchdogs = false }: RackOptions): Promise<Rack> {
    const tools = await prepareTools();
    const image = await prepareImage(tools);
    await sweep();
    const dir = join(RUNS, `hfvm-${process.pid}-${Date.now().toString(36)}`);
    await mkdir(dir, { mode: 0o700 });
    const network = await Network.create();
    const machines: Machine[] = [];
    for (const [index, name] of names.entries()) {
      const place = { name, number: numberOf(index), dir: join(dir, name) };
      const has = { emptyDisk: emptyDisks, hardwareWatchdog: hardwareWatchdogs };
      machines.push(await Machine.create({ ...place, ...has, image, tools, network }));
    }
    return new Rack({ dir, tools, image, network, machines });
  }

  machine(name: string): Machine {
    const found = this.machines.find((machine) => machine.name === name);
    if (found === undefined) throw new Error(`there is no machine ${name}`);
    return found;
  }

  /** Keeps what the machines have said, to understand what went wrong. @returns the directory where it is. */
  async keep(what: string): Promise<string> {
    const place = join(cacheDir, 'failed', `${what.replaceAll(/[^a-z0-9]+/gi, '-').slice(0, 60)}-${Date.now()}`);
    await mkdir(place, { recursive: true });
    for (const machine of this.machines) {
      if (existsSync(machine.consoleFile)) await copyFile(machine.consoleFile, join(place, `${machine.name}.console`));
      if (!machine.on) continue;
      const said = await machine.exec(FACTS, { deadlineMs: 30_000 }).catch((cause) => ({ stdout: String(cause) }));
      await writeFile(join(place, `${machine.name}.facts`), said.stdout);
    }
    return place;
  }

  /** Switches everything off. May be called twice. */
  async close(): Promise<void> {
    const ends = await Promise.allSettled(this.machines.map(async (machine) => await machine.powerCut()));
    await this.network.close();
    await rm(this.dir, { recursive: true, force: true });
    for (const end of ends) if (end.status === 'rejected') throw end.reason;
  }
}

/** Last part of the addresses of the machine at this place in the list. */
export function numberOf(index: number): number {
  return FIRST_NUMBER + index;
}

/** Removes the disks of runs whose process was killed; their machines ended with it. */
async function sweep(): Promise<void> {
  for (const name of await readdir(RUNS)) {
    const pid = /^hfvm-(\d+)-/.exec(name)?.[1];
    if (pid !== undefined && !existsSync(`/proc/${pid}`)) await rm(join(RUNS, name), { recursive: true, force: true });
  }
}
