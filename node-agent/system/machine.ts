/** What the kernel says of the machine and of the processes on it: read, never changed. */
import { readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs';
import { basename } from 'node:path';
import { errnoOf } from './errors.ts';
import { deviceNumber, processes } from './mounts.ts';

/** @returns the text without the white space around it; undefined where there is no such file or its device has no answer. */
export function textAt(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8').trim();
  } catch (error) {
    if (['ENOENT', 'ENOTDIR', 'ENODEV', 'ESRCH', 'EINVAL', 'EIO', 'ENODATA'].includes(errnoOf(error) ?? ''))
      return undefined;
    throw error;
  }
}

/** @returns the names in a directory; none where it does not exist. */
export function namesIn(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ENOTDIR') return [];
    throw error;
  }
}

export interface SeenProcess {
  readonly pid: number;
  readonly argv: readonly string[];
}

/** @returns the processes that this one can see, but itself. Kernel threads have no arguments. */
export function seenProcesses(): SeenProcess[] {
  return processes()
    .filter((pid) => pid !== process.pid)
    .flatMap((pid) => {
      const argv = (textAt(`/proc/${pid}/cmdline`) ?? '').split('\0').filter((word) => word !== '');
      return argv.length === 0 ? [] : [{ pid, argv }];
    });
}

/** The service unit whose cgroup a process is in, at whatever depth. */
export function unitOf(pid: number): string | undefined {
  const line = (textAt(`/proc/${pid}/cgroup`) ?? '').split('\n').find((text) => text.startsWith('0::'));
  return line?.split('/').findLast((segment) => segment.endsWith('.service'));
}

/** How a process is protected from being late. */
export interface Protections {
  readonly lockedBytes: number;
  readonly realtime: boolean;
  readonly oomScoreAdjust: number;
}

/** @returns undefined if the process is gone. Source: proc(5), fields 40 and 41 of stat. */
export function protectionsOf(pid: number): Protections | undefined {
  const stat = textAt(`/proc/${pid}/stat`);
  const status = textAt(`/proc/${pid}/status`);
  const adjust = textAt(`/proc/${pid}/oom_score_adj`);
  if (stat === undefined || status === undefined || adjust === undefined) return undefined;
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const policy = Number(fields[41 - 3]);
  return {
    lockedBytes: Number(/^VmLck:\s+(\d+) kB/m.exec(status)?.[1] ?? 0) * 1_024,
    realtime: policy === 1 || policy === 2,
    oomScoreAdjust: Number(adjust),
  };
}

/** What says that the machine is virtual: the name of the hypervisor where it gives one. */
export function virtualMachine(): string | undefined {
  const product = ['sys_vendor', 'product_name'].flatMap((name) => textAt(`/sys/class/dmi/id/${name}`) ?? []).join(' ');
  const type = textAt('/sys/hypervisor/type');
  const flagged = /^flags\s*:.*\bhypervisor\b/m.test(textAt('/proc/cpuinfo') ?? '');
  const known =
    /KVM|QEMU|VMware|VirtualBox|Virtual Machine|Xen|Bochs|Parallels|Google Compute|Amazon EC2|OpenStack|Hetzner vServer/i.test(
      product,
    );
  if (!flagged && type === undefined && !known) return undefined;
  return product || type || 'the processor reports a hypervisor';
}

/** What says that this is a container, by the conventions of systemd and of the container engines. */
export function containerKind(): string | undefined {
  const said =
    textAt('/run/systemd/container') ?? /(?:^|\0)container=([^\0]+)/.exec(readable('/proc/1/environ') ?? '')?.[1];
  if (said !== undefined) return said;
  if (textAt('/.dockerenv') !== undefined) return 'docker';
  return textAt('/run/.containerenv') === undefined ? undefined : 'podman';
}

/** Of the first process only root may read the environment; others then go by the rest. */
function readable(path: string): string | undefined {
  try {
    return textAt(path);
  } catch (error) {
    if (errnoOf(error) === 'EACCES' || errnoOf(error) === 'EPERM') return undefined;
    throw error;
  }
}

export interface WatchdogDevice {
  readonly name: string;
  readonly identity: string;
  /** Of its time-out, seconds; undefined where the driver does not tell. */
  readonly leastS: number | undefined;
  readonly mostS: number | undefined;
  readonly noWayOut: boolean;
}

/** From sysfs alone: to open the device would be to arm it. */
export function watchdogDevices(): WatchdogDevice[] {
  const root = '/sys/class/watchdog';
  const seconds = (path: string) => {
    const value = Number(textAt(path) ?? 0);
    return value > 0 ? value : undefined;
  };
  return namesIn(root).map((name) => ({
    name,
    identity: textAt(`${root}/${name}/identity`) ?? 'unnamed',
    leastS: seconds(`${root}/${name}/min_timeout`),
    mostS: seconds(`${root}/${name}/max_timeout`),
    noWayOut: textAt(`${root}/${name}/nowayout`) === '1',
  }));
}

/** Does this watchdog run, as one does that is open? A few bytes of sysfs, where `watchdogHolder` looks at every process. */
export function watchdogRuns(device: string): boolean {
  return textAt(`/sys/class/watchdog/${watchdogName(device)}/state`) === 'active';
}

/**
 * Who has a watchdog open, but for this process: `systemd (process 1)`. Undefined where nobody has, or this process may not know
 * (CAP_SYS_PTRACE).
 * @param device any when left out.
 */
export function watchdogHolder(except: number | undefined, device?: string): string | undefined {
  const isMeant = (target: string) =>
    target.startsWith('/dev/watchdog') && (device === undefined || watchdogName(target) === watchdogName(device));
  const holds = (pid: number) => descriptorsOf(pid).some(isMeant);
  const pid = processes().find((one) => one !== except && holds(one));
  return pid === undefined ? undefined : `${textAt(`/proc/${pid}/comm`) ?? 'a process'} (process ${pid})`;
}

/**
 * By the device's own number, or where it is out of sight (PrivateDevices=) by its name. The first one has two devices, /dev/watchdog, of
 * the misc devices, and /dev/watchdog0. Source: Documentation/watchdog/watchdog-kernel-api.rst.
 */
function watchdogName(device: string): string {
  const found = statSync(device, { throwIfNoEntry: false });
  const told = found?.isCharacterDevice() === true ? textAt(`/sys/dev/char/${deviceNumber(found.rdev)}/uevent`) : '';
  const name = /^DEVNAME=(.+)$/m.exec(told ?? '')?.[1] ?? basename(device);
  return name === 'watchdog' ? 'watchdog0' : name;
}

function descriptorsOf(pid: number): string[] {
  try {
    return readdirSync(`/proc/${pid}/fd`).flatMap((fd) => {
      try {
        return [readlinkSync(`/proc/${pid}/fd/${fd}`)];
      } catch (error) {
        if (errnoOf(error) === 'ENOENT') return []; // closed meanwhile
        throw error;
      }
    });
  } catch (error) {
    if (['ENOENT', 'ESRCH', 'EACCES', 'EPERM'].includes(errnoOf(error) ?? '')) return [];
    throw error;
  }
}

/** File systems that this kernel has, or a module of that name for. Undefined where its modules cannot be listed. */
export function knownFileSystems(names: readonly string[], release: string): ReadonlySet<string> | undefined {
  const built = (textAt('/proc/filesystems') ?? '').split('\n').map((line) => line.split('\t').at(-1)?.trim());
  const missing = names.filter((name) => !built.includes(name));
  if (missing.length === 0) return new Set(names);
  const modules = textAt(`/lib/modules/${release}/modules.dep`);
  if (modules === undefined) return undefined;
  const loadable = new Set(
    modules.split('\n').map((line) => basename(line.split(':', 1)[0] ?? '').replace(/\.ko(\.\w+)?$/, '')),
  );
  return new Set(names.filter((name) => built.includes(name) || loadable.has(name)));
}
