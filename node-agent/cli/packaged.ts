/** A node that was installed from the Debian package: its units are there, and `join` is what has the agent run. */
import { existsSync } from 'node:fs';
import { isSea } from 'node:sea';
import { DEFAULT_STATE_DIR } from '../agent/identity.ts';
import { type RunResult, run } from '../system/index.ts';

const PACKAGED_EXECUTABLE = '/usr/lib/holdfast/holdfast';
const UNIT = 'holdfast.service';
/** sd_booted(3): systemd is what runs this machine. Not so while an image is made. */
const SYSTEMD_BOOTED = '/run/systemd/system';
/** Longer than the unit itself may take (TimeoutStartSec=, 90 s): then systemctl says why it failed. */
const START_MS = 100_000;

/** Do the package's units run the agent of this state directory? */
export function unitsArePackaged(stateDir: string): boolean {
  return isSea() && process.execPath === PACKAGED_EXECUTABLE && stateDir === DEFAULT_STATE_DIR;
}

export type UnitStart =
  | { readonly outcome: 'started' | 'starts-at-boot' }
  | { readonly outcome: 'failed'; readonly why: string };

/** Has the agent's unit started at every boot, and now where systemd runs. Where it runs already, nothing changes. */
export async function startUnit(): Promise<UnitStart> {
  const booted = existsSync(SYSTEMD_BOOTED);
  const done = await run(['/usr/bin/systemctl', '--quiet', 'enable', ...(booted ? ['--now'] : []), UNIT], {
    env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', LC_ALL: 'C', SYSTEMD_COLORS: '0' },
    timeoutMs: START_MS,
  });
  if (done.code === 0) return { outcome: booted ? 'started' : 'starts-at-boot' };
  return { outcome: 'failed', why: whyFailed(done) };
}

function whyFailed({ notStarted, timedOut, output, code, signal }: RunResult): string {
  if (notStarted !== undefined) return notStarted;
  if (timedOut) return `systemctl did not end within ${START_MS / 1_000} s`;
  const [first = ''] = output.trim().split('\n');
  return first || `systemctl ended with ${code ?? signal}`;
}
