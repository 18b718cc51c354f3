/**
 * The cables between hosts. Both bridges live in a network namespace of their own, so the machine's network is never
 * touched; that namespace ends with the process that holds it, and with it every cable.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { mustRun, run } from './command.ts';
import { within } from './until.ts';

/** `lan`: between hosts, where virtual addresses live. `uplink`: towards the coordinator. */
export type LinkName = 'lan' | 'uplink';

/** Which frames a cut stops, seen from the host. */
export type Direction = 'both' | 'in' | 'out';

/** A network's prefixes; a host's addresses are these plus its number. */
export const networks = {
  lan: { ipv4: '192.0.2.', ipv6: '2001:db8:10::', interface: 'eth0' },
  uplink: { ipv4: '198.51.100.', ipv6: '2001:db8:20::', interface: 'eth1' },
} as const satisfies Record<LinkName, { ipv4: string; ipv6: string; interface: string }>;

/** A cable from a host to a bridge. */
export interface Cable {
  port: string;
  link: LinkName;
  initPid: number;
}

/** Reads the first line of a child's standard output, which has to be "ready PID"; otherwise says what it wrote instead. */
export async function readyPid(child: ChildProcess, what: string): Promise<number> {
  let output = '';
  const ready = new Promise<number>((resolve, reject) => {
    for (const stream of [child.stdout, child.stderr]) {
      stream?.setEncoding('utf8').on('data', (text: string) => {
        output += text;
        const match = /^ready (\d+)\n/m.exec(output);
        if (match) resolve(Number(match[1]));
      });
    }
    child.on('error', reject);
    child.on('exit', (code, signal) => reject(new Error(`${what} ended (${signal ?? code}): ${output.trim()}`)));
  });
  return await within(ready, { deadlineMs: 10_000, what });
}

/** Runs `ip -batch` in the network namespace of a process. */
async function ipBatch(pid: number, lines: readonly string[]): Promise<void> {
  await mustRun(['nsenter', `--net=/proc/${pid}/ns/net`, 'ip', '-batch', '-'], { input: `${lines.join('\n')}\n` });
}

async function tc(pid: number, ...args: string[]): Promise<void> {
  await mustRun(['nsenter', `--net=/proc/${pid}/ns/net`, 'tc', ...args]);
}

export class Network {
  readonly #holder: ChildProcess;
  readonly #pid: number;
  #ports = 0;

  private constructor(holder: ChildProcess, pid: number) {
    this.#holder = holder;
    this.#pid = pid;
  }

  static async create(labHost: string): Promise<Network> {
    const holder = spawn(labHost, ['hold'], { stdio: ['ignore', 'pipe', 'pipe'] });
    const network = new Network(holder, await readyPid(holder, 'the network of the laboratory'));
    letGo(holder);
    const bridge = 'type bridge forward_delay 0 stp_state 0 mcast_snooping 0';
    const lines = ['link set lo up'];
    for (const name of Object.keys(networks)) lines.push(`link add ${name} ${bridge}`, `link set ${name} up`);
    await ipBatch(network.#pid, lines);
    return network;
  }

  /** Plugs a host in: interfaces up, with their addresses, on both ends. */
  async connect(initPid: number, number: number, links: readonly LinkName[]): Promise<Cable[]> {
    const cables = links.map((link): Cable => ({ port: `p${++this.#ports}`, link, initPid }));
    const outside = cables.flatMap(({ port, link }) => {
      const mac = `02:00:00:00:${link === 'lan' ? '0a' : '0b'}:${number.toString(16).padStart(2, '0')}`;
      const { interface: name } = networks[link];
      return [
        `link add ${port} type veth peer name ${name} address ${mac} netns ${initPid}`,
        `link set ${port} master ${link} up`,
      ];
    });
    await ipBatch(this.#pid, outside);
    const inside = links.flatMap((link) => {
      const { ipv4, ipv6, interface: name } = networks[link];
      return [
        `link set ${name} up`,
        `addr add ${ipv4}${number}/24 brd + dev ${name}`,
        `addr add ${ipv6}${number}/64 dev ${name} nodad`,
      ];
    });
    await ipBatch(initPid, ['link set lo up', ...inside]);
    return cables;
  }

  /** `both` takes the carrier away, as a pulled cable does. One way drops frames in silence, as a broken switch does. */
  async cut(cables: readonly Cable[], direction: Direction): Promise<void> {
    switch (direction) {
      case 'both':
        await ipBatch(
          this.#pid,
          cables.map(({ port }) => `link set ${port} down`),
        );
        return;
      case 'in':
        for (const { port } of cables)
          await tc(this.#pid, 'qdisc', 'replace', 'dev', port, 'root', 'pfifo', 'limit', '0');
        return;
      case 'out':
        for (const { link, initPid } of cables) {
          const { interface: name } = networks[link];
          await tc(initPid, 'qdisc', 'replace', 'dev', name, 'root', 'pfifo', 'limit', '0');
        }
        return;
      default:
        direction satisfies never;
    }
  }

  /**
   * Makes what leaves the host slow and lossy: late by some tens of milliseconds, out of order and one in ten lost where the kernel can do that
   * (netem), otherwise a line that is too thin, which delays and drops what does not fit.
   */
  async impair(cables: readonly Cable[]): Promise<void> {
    for (const { link, initPid } of cables) {
      const { interface: name } = networks[link];
      const replace = ['nsenter', `--net=/proc/${initPid}/ns/net`, 'tc', 'qdisc', 'replace', 'dev', name, 'root'];
      const done = await run([...replace, 'netem', 'delay', '40ms', '30ms', 'loss', '10%']);
      if (done.code !== 0) await mustRun([...replace, 'tbf', 'rate', '256kbit', 'burst', '3000', 'latency', '300ms']);
    }
  }

  /** Undoes every cut of these cables. */
  async mend(cables: readonly Cable[]): Promise<void> {
    for (const { port, link, initPid } of cables) {
      await tc(this.#pid, 'qdisc', 'replace', 'dev', port, 'root', 'noqueue');
      await tc(initPid, 'qdisc', 'replace', 'dev', networks[link].interface, 'root', 'noqueue');
    }
    await ipBatch(
      this.#pid,
      cables.map(({ port }) => `link set ${port} up`),
    );
  }

  /** Takes away what is left of the cables of a host that ended; most go by themselves with its network namespace. */
  async remove(cables: readonly Cable[]): Promise<void> {
    const input = cables.map(({ port }) => `link del ${port}\n`).join('');
    const done = await run(['nsenter', `--net=/proc/${this.#pid}/ns/net`, 'ip', '-force', '-batch', '-'], { input });
    const other = done.stderr
      .split('\n')
      .filter((line) => line !== '' && !/No such device|^Cannot find device|^Command failed/.test(line));
    if (other.length > 0) throw new Error(`removing cables: ${other.join('; ')}`);
  }

  async close(): Promise<void> {
    await endChild(this.#holder, 'the network of the laboratory to end');
  }
}

/**
 * Lets this process end although a child still runs, as when a test fails before it closes its laboratory. The child
 * follows by its parent-death signal.
 */
export function letGo(child: ChildProcess): void {
  child.unref();
  child.stdin?.destroy();
  child.stdout?.destroy();
  child.stderr?.destroy();
}

/** Kills a child and waits until it is gone. */
export async function endChild(child: ChildProcess, what: string): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGKILL');
  await within(gone, { deadlineMs: 10_000, what });
}
