import { createHash } from 'node:crypto';
import { access, mkdir, readFile, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { mustRun } from './command.ts';
import { cacheDir } from './paths.ts';

/** Compiles `native/NAME.c` once per content and returns the path of the program. */
export async function nativeProgram(name: 'lab-host' | 'lab-observer' | 'lab-disk' | 'lab-capture'): Promise<string> {
  return await compiled(name, []);
}

/** The same as a library that programs are made to load. */
export async function nativeLibrary(name: 'lab-slow-disk'): Promise<string> {
  return await compiled(name, ['-shared', '-fPIC']);
}

async function compiled(name: string, flags: readonly string[]): Promise<string> {
  const source = join(import.meta.dirname, 'native', `${name}.c`);
  const key = createHash('sha256')
    .update(await readFile(source))
    .digest('hex')
    .slice(0, 12);
  const program = join(cacheDir, 'bin', `${name}-${key}`);
  try {
    await access(program);
    return program;
  } catch {
    // Not compiled yet.
  }
  await mkdir(join(cacheDir, 'bin'), { recursive: true });
  const building = `${program}.${process.pid}`;
  await mustRun(['cc', '-O2', '-Wall', '-Wextra', '-Werror', ...flags, '-o', building, source]);
  await rename(building, program);
  return program;
}
