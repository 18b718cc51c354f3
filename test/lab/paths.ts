import { resolve } from 'node:path';

/** The repository; hosts see it read-only at the same path. */
export const repoRoot = resolve(import.meta.dirname, '../..');

/** Kept between runs: downloaded packages, their unpacked tree, compiled helpers, the database template. */
export const cacheDir = resolve(process.env.HOLDFAST_LAB_CACHE ?? resolve(repoRoot, '.cache/lab'));

/** Where each lab makes a directory of its own, removed on close. On a disk, since hosts keep their state there. */
export const labsDir = resolve(process.env.HOLDFAST_LAB_DIR ?? '/var/tmp');
