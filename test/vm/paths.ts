import { resolve } from 'node:path';
import { repoRoot } from '../lab/index.ts';

/** Kept between runs: images, Debian trees, what a failed scenario left to look at. */
export const cacheDir = resolve(process.env.HOLDFAST_VM_CACHE ?? resolve(repoRoot, '.cache/vm'));

/** Where the packages are that the machines get; `npm run vm` makes them there. */
export const distDir = resolve(process.env.HOLDFAST_VM_DIST ?? resolve(repoRoot, 'dist'));
