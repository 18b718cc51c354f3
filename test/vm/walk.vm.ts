/** The README's way from three fresh machines to a replicated database, typed as it is written, and then the plug is pulled. */
import { deepEqual, equal } from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { monotonicMs, repoRoot, until } from '../lab/index.ts';
import { type Step, stepsOf } from '../lab/walk.ts';
import type { Machine } from './machine.ts';
import { debFile } from './packages.ts';
import { Rack } from './rack.ts';
import { scenarioAlone } from './scenario.ts';
import { Writer } from './writer.ts';

const SECTION = 'A database on two machines';
const MOST_COMMANDS = 9;
const VIP = '192.0.2.10';
const HOSTS = ['alice', 'bob', 'coordinator'];
/** Who types it has ssh to all three; here the third has it, also to itself. */
const YOURS = 'coordinator';
/** An emulated processor unpacks packages, and starts a database. */
const COMMAND_MS = 240_000;
/** Of the image, which has its database elsewhere; what makes an emulated one quick stays. */
const AS_INSTALLED = `sed -i '/^datadir/d; /^bind-address/d' /etc/mysql/mariadb.conf.d/99-vm.cnf; systemctl enable --now mariadb`;

function section(document: string, title: string): string {
  const found = document.split(/^## /m).find((part) => part.startsWith(title));
  if (found === undefined) throw new Error(`there is no section “${title}”`);
  return found;
}

/** As machines are on which Debian, and nothing of the README, has been installed. */
async function fresh(rack: Rack): Promise<void> {
  await Promise.all(
    rack.machines.map(async (machine) => {
      await machine.start();
      for (const file of [debFile('holdfast'), debFile('holdfast-coordinator')])
        await machine.copyIn(file, `/root/${basename(file)}`);
      if (machine.name !== YOURS) {
        await machine.mustExec(AS_INSTALLED, { deadlineMs: COMMAND_MS });
        return;
      }
      await machine.copyIn(rack.image.sshKey, '/root/.ssh/id_ed25519');
      await machine.write('/root/.ssh/config', 'StrictHostKeyChecking accept-new\n');
      await machine.mustExec('chmod 600 /root/.ssh/*');
    }),
  );
}

/** What the walk has of the cluster and of the database's client while it goes on. */
interface Walk {
  readonly rack: Rack;
  readonly say: (text: string) => void;
  writer: Writer | undefined;
  /** Which node had the group when it was last looked at. */
  owner: string;
  cutMs: number;
}

/** Waits until `holdfast status` shows that the group runs: on which node is the cluster's choice, but another one after a power cut. */
async function running(walk: Walk, group: string): Promise<void> {
  const line = new RegExp(`^${group} +running +(\\w+) .* (\\w+)$`, 'm');
  let seen = '';
  const there = async () => {
    seen = (await walk.rack.machine('coordinator').exec('holdfast status')).stdout;
    const [, node = '', next = ''] = line.exec(seen) ?? [];
    const isThere = node !== '' && (walk.cutMs === 0 ? next !== 'nobody' : node !== walk.owner && next === 'nobody');
    return isThere ? node : undefined;
  };
  const what = `${group} to run`;
  walk.owner = await until(there, { deadlineMs: COMMAND_MS, everyMs: 500, what }).catch((error: unknown) => {
    throw new Error(`${error instanceof Error ? error.message : error}; status shows:\n${seen}`, { cause: error });
  });
}

async function act(walk: Walk, [what = '', first = '']: readonly string[]): Promise<void> {
  switch (what) {
    case 'running':
      await running(walk, first);
      return await served(walk, walk.rack.machine(walk.owner));
    case 'power-cut':
      walk.cutMs = monotonicMs();
      return await walk.rack.machine(first === 'owner' ? walk.owner : first).powerCut();
    default:
      throw new Error(`the README asks for what this test cannot do: ${what}`);
  }
}

/** A client writes through the address, and everything that it was ever told to be written is there. */
async function served(walk: Walk, owner: Machine): Promise<void> {
  walk.writer ??= await Writer.start(walk.rack.network, VIP, owner);
  await walk.writer.acknowledgedAfter(monotonicMs(), COMMAND_MS);
  deepEqual(await walk.writer.missing(owner), [], 'rows that were acknowledged');
  if (walk.cutMs === 0) return;
  const { acknowledged } = walk.writer;
  const gap = walk.writer.longestGap(walk.cutMs);
  walk.say(`${acknowledged.length} rows acknowledged, none lost; outage ${(gap.ms / 1000).toFixed(1)} s`);
}

/** Types one step. @returns how many commands that were. */
async function follow(walk: Walk, step: Step): Promise<number> {
  switch (step.kind) {
    case 'action':
      await act(walk, step.words);
      return 0;
    case 'file':
      for (const place of step.places) {
        const [host = '', path = ''] = place.split(':');
        await walk.rack.machine(host).write(path, step.content);
      }
      return 0;
    case 'commands': {
      const { hosts, script } = step;
      const commands = script.trim().split('\n');
      for (const host of hosts)
        for (const command of commands)
          await walk.rack.machine(host === 'yours' ? YOURS : host).mustExec(command, { deadlineMs: COMMAND_MS });
      return commands.length;
    }
    default:
      return step satisfies never;
  }
}

scenarioAlone(
  'the README’s database on two machines: nine commands on fresh ones, then a power cut',
  async (say, signal) => {
    const rack = await Rack.create({ names: HOSTS, emptyDisks: true });
    const switchOff = () => void rack.close().catch(() => undefined);
    signal.addEventListener('abort', switchOff);
    const walk: Walk = { rack, say, writer: undefined, owner: '', cutMs: 0 };
    try {
      await fresh(rack);
      let commands = 0;
      for (const step of stepsOf(section(readFileSync(join(repoRoot, 'README.md'), 'utf8'), SECTION)))
        commands += await follow(walk, step);
      equal(commands, MOST_COMMANDS, 'as many commands as its title says');
      const story = await rack.machine('coordinator').mustExec('holdfast incident show last');
      say(`${commands} commands; holdfast incident show last:\n${story}`);
    } catch (error) {
      const place = await rack.keep('walk');
      throw new Error(`${error instanceof Error ? error.message : error}\n(what the machines said is in ${place})`, {
        cause: error,
      });
    } finally {
      signal.removeEventListener('abort', switchOff);
      walk.writer?.stop();
      await rack.close();
    }
  },
);
