/** For the tests of DRBD where there is none: programs of its names that answer from files, and what the real ones print. */
import { appendFileSync, chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Drbd } from './drbd-command.ts';
import { DrbdWatch } from './drbd-watch.ts';

const HANDLERS = {
  'fence-peer': '/usr/lib/holdfast/holdfast-drbd fence-peer',
  'unfence-peer': '/usr/lib/holdfast/holdfast-drbd unfence-peer',
};

interface Written {
  readonly handlers?: Readonly<Record<string, string>>;
  readonly net?: Readonly<Record<string, string>>;
  readonly disk?: Readonly<Record<string, string>>;
  readonly options?: Readonly<Record<string, string>>;
  readonly hosts?: readonly string[];
}

const section = (name: string, values: Readonly<Record<string, string>>) =>
  `<section name="${name}">\n${Object.entries(values)
    .map(([key, value]) => `<option name="${key}" value="${value}"/>`)
    .join('\n')}\n</section>\n`;

/** As `drbdadm dump-xml` of drbd-utils 9.22 writes it; by default of a pair for 8.4. */
export function dumpXml(written: Written = {}, name = 'r0'): string {
  const {
    handlers = HANDLERS,
    net = {},
    disk = { fencing: 'resource-and-stonith' },
    options = {},
    hosts = ['n1', 'n2'],
  } = written;
  const places = hosts.map(
    (host, index) => `<host name="${host}">
      <volume vnr="0">
        <device minor="0">/dev/drbd0</device>
        <disk>/dev/vdb</disk>
        <meta-disk>internal</meta-disk>
      </volume>
      <address family="ipv4" port="7789">10.77.0.${index + 1}</address>
    </host>`,
  );
  return `<config file="/etc/drbd.conf">
  <common>
    ${section('net', { protocol: 'C' })}
    ${section('handlers', handlers)}
  </common>
  <resource name="${name}" conf-file-line="/etc/drbd.d/r0.res:1">
    ${places.join('\n    ')}
    ${section('net', net)}${section('disk', disk)}${section('options', options)}
  </resource>
</config>
`;
}

export interface Shown {
  readonly role?: string;
  readonly suspended?: string;
  readonly disk?: string;
  readonly connection?: string;
  readonly peerRole?: string;
  readonly peerDisk?: string;
  readonly outOfSync?: number;
}

/** As drbdsetup-84 of drbd-utils 9.22 prints it, of the module 8.4.11 of Linux 6.1. */
export function events84(shown: Shown = {}): string[] {
  const { role = 'Secondary', suspended = 'no', disk = 'UpToDate', connection = 'Connected' } = shown;
  const { peerRole = 'Secondary', peerDisk = 'UpToDate', outOfSync } = shown;
  const peer = `name:r0 peer-node-id:0${connection === 'StandAlone' ? '' : ' conn-name:peer'}`;
  const statistics = outOfSync === undefined ? '' : ` received:0 sent:0 out-of-sync:${outOfSync} pending:0 unacked:0`;
  return [
    `exists resource name:r0 role:${role} suspended:${suspended}`,
    `exists connection ${peer} connection:${connection} role:${peerRole}`,
    `exists device name:r0 volume:0 minor:0 disk:${disk}`,
    `exists peer-device ${peer} volume:0 replication:Established peer-disk:${peerDisk} resync-suspended:no${statistics}`,
    'exists -',
  ];
}

const PROGRAM = `#!/bin/sh
dir=$(dirname "$0")
name=$(basename "$0")
[ "$1" = -d ] && shift
case "$name $1" in
"drbdadm dump-xml")
  [ -e "$dir/config.err" ] && { cat "$dir/config.err" >&2; exit 10; }
  cat "$dir/config.xml"; exit 0 ;;
"drbdsetup show") [ -e "$dir/mute" ] && exec sleep 60; cat "$dir/show" 2>/dev/null; exit 0 ;;
"drbdsetup events2")
  case "$*" in *--now*) cat "$dir/state"; exit 0 ;; esac
  exec tail -n +1 -f "$dir/events" ;;
"drbdadm get-gi") cat "$dir/generation" 2>/dev/null; exit 0 ;;
esac
echo "$name $*" >> "$dir/log"
[ -e "$dir/on-$1" ] && exec sh "$dir/on-$1" "$dir" "$@"
exit 0
`;

/** DRBD on a machine that has none. */
export class FakeDrbd {
  readonly dir: string = mkdtempSync(join(tmpdir(), 'hf-drbd-'));
  readonly drbd: Drbd;
  readonly watch: DrbdWatch;

  constructor(version: '8.4.11' | '9.2.14' = '8.4.11') {
    this.drbd = new Drbd({ programs: [this.dir], proc: join(this.dir, 'proc') });
    this.watch = new DrbdWatch(this.drbd);
    for (const program of ['drbdadm', 'drbdsetup']) {
      writeFileSync(join(this.dir, program), PROGRAM);
      chmodSync(join(this.dir, program), 0o755);
    }
    this.#write('proc', `version: ${version} (api:1/proto:86-101)\nsrcversion: 0\n`);
    this.#write('config.xml', dumpXml());
    this.#write('show', 'resource r0 { _this_host { volume 0 { disk { fencing resource-and-stonith; } } } }\n');
    this.#write('events', '');
    this.shows(events84());
  }

  configures(xml: string): void {
    this.#write('config.xml', xml);
  }

  /** From now on the configuration cannot be read. */
  complains(text: string): void {
    this.#write('config.err', text);
  }

  /** What the kernel knows; the watch is told that something has changed. */
  shows(lines: readonly string[]): void {
    this.#write('state', `${lines.join('\n')}\n`);
    appendFileSync(join(this.dir, 'events'), `${lines.join('\n')}\n`);
  }

  knowsNothing(): void {
    this.shows(['exists -']);
  }

  /** `drbdsetup show` does not answer, as on a machine that is too busy. */
  mutes(mute: boolean): void {
    if (mute) this.#write('mute', '');
    else rmSync(join(this.dir, 'mute'));
  }

  /** The module is not loaded. */
  unloads(): void {
    rmSync(join(this.dir, 'proc'));
  }

  generation(text: string): void {
    this.#write('generation', `${text}\n`);
  }

  /** A shell script that `drbdadm COMMAND` runs: `$1` is the directory of all these files. */
  answers(command: string, script: string): void {
    this.#write(`on-${command}`, script);
  }

  /** `drbdadm primary` makes it so, and so on, as the real one does when nothing is in its way. */
  obeys(shown: Shown = {}): void {
    const becomes = (role: string) => `cat > "$1/state" <<'END'\n${events84({ ...shown, role }).join('\n')}\nEND\n`;
    this.answers('primary', becomes('Primary'));
    this.answers('secondary', becomes('Secondary'));
    this.answers('up', becomes('Secondary'));
  }

  /** The commands that would change something, in order. */
  get log(): string[] {
    const path = join(this.dir, 'log');
    return existsSync(path) ? readFileSync(path, 'utf8').trim().split('\n') : [];
  }

  remove(): void {
    rmSync(this.dir, { recursive: true, force: true });
  }

  #write(name: string, text: string): void {
    writeFileSync(join(this.dir, name), text);
  }
}
