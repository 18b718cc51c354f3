/** What processes use, as the kernel counts it. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Host } from '../../test/lab/index.ts';
import { commOf } from './stack.ts';

export interface ProcessMemory {
  readonly name: string;
  readonly pid: number;
  readonly pssMiB: number;
  readonly rssMiB: number;
  readonly privateMiB: number;
  /** Of the PSS, pages of files: the kernel may drop and read them again. */
  readonly fileMiB: number;
}

/** PSS, RSS and private memory of each process of a host for which `count` says yes. Throws if one of them cannot be read. */
export async function memoryOf(host: Host, count: (name: string) => boolean): Promise<ProcessMemory[]> {
  const found: ProcessMemory[] = [];
  for (const pid of host.processes()) {
    const name = commOf(pid);
    if (name === '' || !count(name)) continue;
    const text = await readFile(`/proc/${pid}/smaps_rollup`, 'utf8');
    const mebibytes = (key: string) =>
      Number(new RegExp(`^${key}: +(\\d+) kB`, 'm').exec(text)?.[1] ?? Number.NaN) / 1_024;
    found.push({
      // Node names its main thread, and with it the process, so.
      name: name === 'MainThread' ? 'holdfast agent' : name,
      pid,
      pssMiB: mebibytes('Pss'),
      rssMiB: mebibytes('Rss'),
      privateMiB: mebibytes('Private_Clean') + mebibytes('Private_Dirty'),
      fileMiB: mebibytes('Pss_File'),
    });
  }
  return found.sort((a, b) => b.pssMiB - a.pssMiB);
}

/** Processor time of everything that ever ran in a control group and below it, ms. Zero for one that is not there. */
export async function cpuMs(cgroup: string): Promise<number> {
  const text = await readFile(join(cgroup, 'cpu.stat'), 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return 'usage_usec 0\n';
    throw error;
  });
  return Number(/^usage_usec (\d+)$/m.exec(text)?.[1] ?? Number.NaN) / 1_000;
}
