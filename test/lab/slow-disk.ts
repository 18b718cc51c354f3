/** A machine whose disk takes long to sync: native/lab-slow-disk.c in every program that is started on it from then on. */
import type { Host } from './host.ts';
import { nativeLibrary } from './native.ts';

export async function slowDisk(host: Host): Promise<void> {
  await host.writeFile('/etc/ld.so.preload', `${await nativeLibrary('lab-slow-disk')}\n`);
}
