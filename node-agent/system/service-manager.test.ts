import { deepEqual, equal, match } from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, fstatSync, mkdtempSync, openSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { journalReads, tellServiceManager } from './service-manager.ts';

/** Prints what arrives on a datagram socket, and who the kernel says has sent it. */
const LISTENER = `
import os, socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
s.bind(sys.argv[1])
print('listening', flush=True)
while True:
  data, ancillary, *_ = s.recvmsg(4096, 256)
  pid = int.from_bytes(ancillary[0][2][:4], sys.byteorder)
  print(pid, data.decode().strip().replace('\\n', ' '), flush=True)
  for _, kind, descriptors in ancillary:
    if kind == socket.SCM_RIGHTS:
      for at in range(0, len(descriptors), 4):
        os.close(int.from_bytes(descriptors[at:at + 4], sys.byteorder))
`;

function missing(): string | false {
  if (!existsSync('/usr/bin/systemd-notify')) return 'systemd-notify is not installed';
  try {
    execFileSync('python3', ['--version'], { stdio: 'ignore' });
    return false;
  } catch {
    return 'python3, which listens here, is not installed';
  }
}

test('the service manager is told in the name of this process, as NotifyAccess=main asks', {
  skip: missing(),
}, async (t) => {
  if (process.getuid?.() !== 0) return t.skip('only root may speak in the name of another process');
  const directory = mkdtempSync(join(tmpdir(), 'holdfast-notify-'));
  const socket = join(directory, 'notify');
  const listener = spawn('python3', ['-c', LISTENER, socket], { stdio: ['ignore', 'pipe', 'inherit'] });
  t.after(() => {
    listener.kill();
    rmSync(directory, { recursive: true });
  });
  const lines: string[] = [];
  let text = '';
  listener.stdout.setEncoding('utf8').on('data', (part: string) => {
    text += part;
    lines.splice(0, lines.length, ...text.split('\n').slice(0, -1));
  });
  while (lines.length === 0) await once(listener.stdout, 'data');
  const env = { NOTIFY_SOCKET: socket };
  equal(await tellServiceManager({ state: 'ready', status: 'node alice\nof shop' }, env), undefined);
  equal(await tellServiceManager({ state: 'stopping', status: 'handing over' }, env), undefined);
  const told = () => lines.slice(1).filter((line) => !line.includes('BARRIER'));
  while (told().length < 2) await once(listener.stdout, 'data');
  deepEqual(told(), [
    `${process.pid} READY=1 STATUS=node alice of shop`,
    `${process.pid} STATUS=handing over STOPPING=1`,
  ]);
});

test('without a service manager nothing is started', async () => {
  equal(await tellServiceManager({ state: 'ready', status: 'x' }, {}), undefined);
  equal(await tellServiceManager({ state: 'ready', status: 'x' }, { NOTIFY_SOCKET: '' }), undefined);
});

test('a service manager that cannot be told is a reason, not an exception', { skip: missing() }, async () => {
  match(
    (await tellServiceManager({ state: 'ready', status: 'x' }, { NOTIFY_SOCKET: '/nonexistent/notify' })) ?? '',
    /fail/,
  );
});

test('the journal reads standard error only where the variable names that very file', (t) => {
  const file = openSync('/dev/null', 'r');
  const { dev, ino } = fstatSync(file, { bigint: true });
  equal(journalReads({ JOURNAL_STREAM: `${dev}:${ino}` }, file), true);
  equal(journalReads({ JOURNAL_STREAM: `${dev}:${ino + 1n}` }, file), false);
  equal(journalReads({ JOURNAL_STREAM: '' }, file), false);
  equal(journalReads({}, file), false);
  t.diagnostic(`standard error of this test: ${journalReads()}`);
});
