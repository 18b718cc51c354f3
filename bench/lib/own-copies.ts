/**
 * Memory as one machine alone would show it. Hosts of the laboratory share the files of the machine below them, and a page that two
 * hosts map counts half for each: so each host gets its own copy of every file that its processes map. And a file that was just
 * written lies in the page cache in large pieces, which are then mapped whole: so the cache of the copies is dropped.
 */
import { copyFile, readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { type Host, type Lab, mustRun } from '../../test/lab/index.ts';

/** Files that the host's processes map, by their paths in the host. */
export async function mappedFiles(host: Host): Promise<string[]> {
  const maps = await host.mustExec(['sh', '-c', 'cat /proc/[0-9]*/maps']);
  const paths = maps
    .split('\n')
    .flatMap((line) => /^\S+ \S+ \S+ \S+ \d+ +(\/(?:usr|lib|etc|bin|sbin)\S*)$/.exec(line)?.[1] ?? []);
  return [...new Set(paths)].sort();
}

/** Gives the host its own copy of each file. Running processes keep what they have mapped until they start again. */
export async function copyOnHost(host: Host, paths: readonly string[]): Promise<void> {
  const script =
    'for file in "$@"; do [ -f "$file" ] && cp -pL "$file" "$file.own" && mv -f "$file.own" "$file"; done; true';
  await host.mustExec(['sh', '-c', script, 'copy', ...paths]);
}

/** Copies a file of the machine to the host's own disk. */
export async function copyToHost(host: Host, from: string, to: string): Promise<void> {
  await host.mustExec(['install', '-d', to.slice(0, to.lastIndexOf('/'))]);
  await copyFile(from, await host.path(to));
}

/** Drops what the page cache has of the host's own files. The host should be off: what is mapped stays. */
export async function dropPageCache(lab: Lab, host: Host): Promise<number> {
  await mustRun(['sync', '--file-system', lab.dir]);
  const roots = [join(lab.dir, host.name, 'layers'), join(lab.dir, host.name, 'disk/srv')];
  let dropped = 0;
  for (const root of roots) {
    for (const entry of await readdir(root, { recursive: true, withFileTypes: true })) {
      const path = join(entry.parentPath, entry.name);
      if (!entry.isFile() || (await stat(path)).size < 4_096) continue;
      await mustRun(['dd', `of=${path}`, 'oflag=nocache', 'conv=notrunc,fdatasync', 'count=0', 'status=none']);
      dropped++;
    }
  }
  return dropped;
}
