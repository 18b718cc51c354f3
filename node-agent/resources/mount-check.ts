/** What is on a block device, and whether it needs a check before it may be mounted. */

/** Of an ext2, ext3 or ext4 file system (Documentation/filesystems/ext4, "The Super Block"). */
export interface ExtState {
  /** It was unmounted, or needs nothing but its journal. */
  readonly clean: boolean;
  /** The kernel has found damage in it. */
  readonly errors: boolean;
  readonly journal: boolean;
}

export const SUPERBLOCK_BYTES = 2_048;

/** Reads the superblock, which begins 1,024 bytes into the device. @returns undefined if it is not that of an ext file system. */
export function extState(start: Buffer): ExtState | undefined {
  if (start.length < SUPERBLOCK_BYTES || start.readUInt16LE(1_024 + 0x38) !== 0xef53) return undefined;
  const state = start.readUInt16LE(1_024 + 0x3a);
  return {
    clean: (state & 1) !== 0,
    errors: (state & 2) !== 0,
    journal: (start.readUInt32LE(1_024 + 0x5c) & 4) !== 0,
  };
}

/**
 * Must it be checked before the mount? A journal is replayed by the kernel itself, and quickly; what is left is damage that was
 * found, and a file system without a journal that was not unmounted.
 */
export function needsCheck(state: ExtState): boolean {
  return state.errors || (!state.journal && !state.clean);
}

/** May what blkid(8) found be mounted as this type? */
export function typeFits(wanted: string, found: string): boolean {
  return wanted === found || (wanted === 'ext4' && (found === 'ext3' || found === 'ext2'));
}
