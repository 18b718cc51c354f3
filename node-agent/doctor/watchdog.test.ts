import { test } from 'node:test';
import { declaredBy, expectFindings } from './testing.ts';
import { type WatchdogFacts, watchdogFindings } from './watchdog.ts';

const iTCO = { name: 'watchdog0', identity: 'iTCO_wdt', leastS: 2, mostS: 613, noWayOut: false } as const;
const softdog = { ...iTCO, name: 'watchdog1', identity: 'Software Watchdog', leastS: 1, mostS: 65_535 } as const;
const facts: WatchdogFacts = { devices: [], holder: undefined, chosen: 'none', device: '/dev/watchdog' };
const plain = declaredBy(['vip: 192.0.2.10/24']);
const shared = declaredBy(['mount: { device: /dev/sdb1, directory: /srv/www, fstype: ext4, disk: shared }']);
const wan = declaredBy(['vip: 192.0.2.10/24'], 'wan');

type Row = readonly [string, Partial<WatchdogFacts>, typeof plain, ...(readonly [RegExp, RegExp?])[]];
const table: readonly Row[] = [
  ['none', {}, plain, [/^ok none: there is none; nothing here would reset/]],
  [
    'none where one was chosen',
    { chosen: 'watchdog' },
    plain,
    [/^error none: .*\/dev\/watchdog: it does not start/, /modprobe softdog/],
  ],
  [
    'one that nobody uses',
    { devices: [softdog] },
    plain,
    [/^ok watchdog1: Software Watchdog, 1 to 65535 s; not used$/],
  ],
  [
    'one that is too slow',
    { devices: [iTCO] },
    plain,
    [/^ok watchdog0: .*not used, and too slow for this lease: watchdog 2000/],
  ],
  [
    'one that is too slow and was chosen',
    { devices: [iTCO], chosen: 'watchdog' },
    plain,
    [/^error watchdog0: .*watchdog 2000 \+ reset 200 = 2200 ms.*\(I2\); use the profile wan/, /`lease:`/],
  ],
  [
    'one that fits',
    { devices: [iTCO], chosen: 'watchdog' },
    wan,
    [/^ok watchdog0: iTCO_wdt, 2 to 613 s; the guard arms it/],
  ],
  [
    'another one that was chosen',
    { devices: [iTCO, softdog], chosen: 'watchdog', device: '/dev/watchdog1' },
    plain,
    [/^ok watchdog0: .*not used/],
    [/^ok watchdog1: .*the guard arms it/],
  ],
  [
    'one that systemd has',
    { devices: [softdog], chosen: 'watchdog', device: '/dev/watchdog1', holder: 'systemd (process 1)' },
    plain,
    [/^error watchdog1: .*in use by systemd \(process 1\)/, /RuntimeWatchdogSec=off/],
  ],
  [
    'one that somebody has, unused here',
    { devices: [softdog], holder: 'sbd (process 70)' },
    plain,
    [/^ok watchdog1: .*in use by sbd/],
  ],
  [
    'one that cannot be stopped',
    { devices: [{ ...softdog, noWayOut: true }] },
    plain,
    [/cannot be stopped once armed \(nowayout\)/],
  ],
  [
    'one whose driver tells nothing',
    { devices: [{ ...softdog, leastS: undefined, mostS: undefined }] },
    plain,
    [/^ok watchdog1: Software Watchdog, time-outs unknown/],
  ],
  [
    'a group that demands one, without',
    { devices: [softdog], chosen: 'sysrq' },
    shared,
    [/^ok watchdog1/],
    [/^warning web: demands a watchdog .* does not start here/, /--reset=watchdog in reset\.env/],
  ],
  [
    'a group that demands one, with it',
    { devices: [softdog], chosen: 'watchdog', device: '/dev/watchdog1' },
    shared,
    [/^ok watchdog1/],
  ],
];
for (const [what, differs, declared, ...expected] of table)
  test(`the watchdog: ${what}`, () => expectFindings(watchdogFindings({ ...facts, ...differs }, declared), expected));
