/**
 * The cables of the virtual machines. Both bridges live in a network namespace of their own, which ends with this process; so does
 * every program that was started in it.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mustRun, within } from '../lab/index.ts';

/** `lan`: clients, the virtual address, the coordinator. `replication`: between the disks. */
export type LinkName = 'lan' | 'replication';

/** A network's prefix; an address is that and the machine's number. The namespace itself is number 1 on both. */
export const networks = {
  lan: { ipv4: '192.0.2.', interface: 'eth0', mac: '52:54:00:00:0a:' },
  replication: { ipv4: '198.51.100.', interface: 'eth1', mac: '52:54:00:00:0b:' },
} as const satisfies Record<LinkName, { ipv4: string; interface: string; mac: string }>;

export const linkNames = Object.keys(networks) as LinkName[];

export class Network {
  readonly #holder: ChildProcess;

  private constructor(holder: ChildProcess) {
    this.#holder = holder;
  }

  static async create(): Promise<Network> {
    const hold = ['--pdeathsig', 'KILL', 'unshare', '--net', 'sh', '-c', 'echo ready; exec sleep infinity'];
    const holder = spawn('setpriv', hold, { stdio: ['ignore', 'pipe', 'inherit'] });
    const network = new Network(holder);
    await within(once(holder.stdout, 'data'), { deadlineMs: 10_000, what: 'a network namespace' });
    holder.stdout.destroy();
    holder.unref();
    await network.#ip([
      'link set lo up',
      ...linkNames.flatMap((link) => [
        `link add ${link} type bridge forward_delay 0 stp_state 0 mcast_snooping 0`,
        `addr add ${networks[link].ipv4}1/24 brd + dev ${link}`,
        `link set ${link} up`,
      ]),
    ]);
    return network;
  }

  /** The words that run a program in the namespace, so that it ends with this process. */
  inside(argv: readonly string[]): string[] {
    return ['setpriv', '--pdeathsig', 'KILL', 'nsenter', `--net=/proc/${this.#holder.pid}/ns/net`, '--', ...argv];
  }

  /** The name of the tap at a machine's end of a cable. */
  port(link: LinkName, number: number): string {
    return `${link === 'lan' ? 'lan' : 'repl'}${number}`;
  }

  /** Lays a machine's cables. They stay when it loses power. */
  async plug(number: number): Promise<void> {
    await this.#ip(
      linkNames.flatMap((link) => [
        `tuntap add dev ${this.port(link, number)} mode tap`,
        `link set ${this.port(link, number)} master ${link} up`,
      ]),
    );
  }

  /** Pulls a cable: nothing gets through any more, in both directions. */
  async cut(link: LinkName, number: number): Promise<void> {
    await this.#ip([`link set ${this.port(link, number)} down`]);
  }

  async mend(link: LinkName, number: number): Promise<void> {
    await this.#ip([`link set ${this.port(link, number)} up`]);
  }

  async #ip(lines: readonly string[]): Promise<void> {
    await mustRun(this.inside(['ip', '-batch', '-']), { input: `${lines.join('\n')}\n` });
  }

  async close(): Promise<void> {
    if (this.#holder.exitCode !== null || this.#holder.signalCode !== null) return;
    const gone = once(this.#holder, 'exit');
    this.#holder.kill('SIGKILL');
    await within(gone, { deadlineMs: 10_000, what: 'the network of the virtual machines to end' });
  }
}
