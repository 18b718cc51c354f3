/**
 * A host whose PID 1 is the machine's own systemd, booted as in a container: it manages the units that a test installs and starts
 * nothing of its own accord. What it could do to the machine (sysctls, /sys) is read-only.
 */
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Host } from './host.ts';
import { until } from './until.ts';

const systemdProgram = '/usr/lib/systemd/systemd';

/** What the machine itself lacks: then it is unpacked for the hosts like any other package. */
export const systemdPackages: readonly string[] = [
  ...(existsSync(systemdProgram) ? [] : ['systemd']),
  ...(existsSync('/usr/bin/dbus-daemon') ? [] : ['dbus']),
];

/** Nothing of what systemd prints is wanted, but where a host does not come up: then set this to `console` and look at `systemd.log`. */
export const systemdInit: readonly string[] = [systemdProgram, '--system', '--unit=lab.target', '--log-target=null'];
export const systemdEnv = { container: 'holdfast-lab', PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin' };

const unitDirs = ['/etc/systemd/system', '/usr/lib/systemd/system'];
const bootTarget = `[Unit]
Description=The units that the laboratory enables
DefaultDependencies=no
AllowIsolate=yes
`;

/**
 * Files of the host: path → content; `null` is a link to /dev/null. Everything that the machine or the packages would start at boot
 * or with any unit (journal, udev, time synchronisation) is masked; targets and slices are kept, for they only order.
 */
export function systemdFiles(packagesRoot: string): Map<string, string | null> {
  const files = new Map<string, string | null>([['/etc/systemd/system/lab.target', bootTarget]]);
  for (const root of ['', packagesRoot]) {
    for (const dir of unitDirs) {
      for (const wants of readDir(join(root, dir)).filter((name) => /\.(wants|requires)$/.test(name))) {
        for (const unit of readDir(join(root, dir, wants))) {
          if (!/\.(target|slice)$/.test(unit) && !unit.includes('@')) files.set(`/etc/systemd/system/${unit}`, null);
        }
      }
    }
  }
  return files;
}

function readDir(path: string): string[] {
  return existsSync(path) ? readdirSync(path) : [];
}

/** The kernel's settings belong to the machine; only those of the network are the host's own. */
export function systemdPlan(root: string): string[][] {
  const net = join(root, 'run/.proc-sys-net');
  return [
    ['dir', net],
    ['bind', join(root, 'proc/sys/net'), net, 'rw'],
    ['bind', join(root, 'proc/sys'), join(root, 'proc/sys'), 'ro'],
    ['bind', net, join(root, 'proc/sys/net'), 'rw'],
  ];
}

/** Resolves when systemd has finished booting. */
export async function systemdBooted(host: Host): Promise<void> {
  let last = '';
  await until(
    async () => {
      const asked = await host.exec(['systemctl', 'is-system-running']);
      last = `${asked.stdout} ${asked.stderr}`.trim();
      return /^(running|degraded)/.test(last);
    },
    { deadlineMs: 20_000, everyMs: 20, what: `systemd of ${host.name} to be up (it says: ${last})` },
  );
}
