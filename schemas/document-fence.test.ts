import { equal } from 'node:assert/strict';
import { test } from 'node:test';
import { parseDocument } from './document.ts';
import { type Bad, missedIn, withGroups } from './document-testing.ts';

const group = (fence: string, more: string) =>
  withGroups(
    `  db:\n${fence === '' ? '' : `    fence: ${fence}\n`}    resources:\n      - mount: { device: /dev/sdb1, directory: /srv/a, fstype: ext4${more} }\n`,
  );
const RISK = ', acceptRisk: shared-disk-without-watchdog';

test('a shared disk demands a watchdog, unless the risk is accepted by name', () => {
  const cases: [string, string, string][] = [
    ['', '', 'guard'],
    ['', ', disk: local', 'guard'],
    ['', ', disk: shared', 'watchdog'],
    ['', `, disk: shared${RISK}`, 'guard'],
    ['guard', `, disk: shared${RISK}`, 'guard'],
    ['watchdog', '', 'watchdog'],
    ['watchdog', ', disk: shared', 'watchdog'],
    ['guard', '', 'guard'],
  ];
  for (const [fence, more, expected] of cases) {
    const result = parseDocument(group(fence, more));
    equal(result.ok && result.config.groups.db?.fence, expected, `${fence}${more}`);
  }
});

const bad: Bad[] = [
  {
    what: 'less than the shared disk demands',
    text: group('guard', ', disk: shared'),
    line: 5,
    path: 'groups.db.fence',
    detail:
      /shared disk of groups\.db\.resources\[0\]\.mount demands a watchdog.*leave `fence` out, or write `acceptRisk/,
    suggestion: 'watchdog',
  },
  {
    what: 'a risk that a watchdog takes away',
    text: group('watchdog', `, disk: shared${RISK}`),
    line: 7,
    path: 'groups.db.resources[0].mount.acceptRisk',
    detail: /no risk to accept: leave one of them out/,
  },
  {
    what: 'a fence that is none',
    text: group('ipmi', ''),
    line: 5,
    path: 'groups.db.fence',
    detail: /guard or watchdog, not “ipmi”/,
  },
];
for (const one of bad) test(`refused: ${one.what}`, () => equal(missedIn(one), undefined));
