import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { parseDocument } from './document.ts';
import { type Bad, missedIn } from './document-testing.ts';
import { LEASE_PROFILES } from './limits.ts';

const nodes = 'nodes:\n  alice: { labels: [disk=ssd, room=a] }\n  bob: { labels: [disk=hdd] }\n  carol:\n';
/** Each line of `groups` is `name: what stands beside its resources`; the first group stands on line 7. */
const withRules = (groups: Record<string, string>) => {
  const lines = Object.entries(groups).map(
    ([name, rules], index) =>
      `  ${name}: { ${rules === '' ? '' : `${rules}, `}resources: [{ vip: 192.0.2.${index + 1}/24 }] }\n`,
  );
  return `cluster: shop\n${nodes}groups:\n${lines.join('')}`;
};

const names: Bad[] = [
  {
    what: 'a mistyped group',
    text: withRules({ db: '', web: 'after: [bd]' }),
    line: 8,
    column: 18,
    path: 'groups.web.after[0]',
    detail: /no group `bd`; other groups: db/,
    suggestion: 'db',
  },
  {
    what: 'a mistyped group without a list',
    text: withRules({ db: '', web: 'with: bd' }),
    line: 8,
    column: 16,
    path: 'groups.web.with',
    detail: /no group `bd`/,
    suggestion: 'db',
  },
  {
    what: 'the group itself',
    text: withRules({ web: 'apart: [web]' }),
    line: 7,
    path: 'groups.web.apart[0]',
    detail: /`web` is this group itself/,
  },
  {
    what: 'a group twice',
    text: withRules({ db: '', web: 'after: [db, db]' }),
    line: 8,
    path: 'groups.web.after[1]',
    detail: /`db` stands twice in `after`/,
  },
  {
    what: 'the only group, after another',
    text: withRules({ web: 'after: db' }),
    line: 7,
    detail: /no group `db`; there is no other group/,
  },
  {
    what: 'a rule left empty',
    text: withRules({ web: 'after: ' }),
    line: 7,
    detail: /`after` is empty; it must be text or a list/,
  },
  {
    what: 'more groups than anybody can oversee',
    text: withRules({
      ...Object.fromEntries(Array.from({ length: 33 }, (_, index) => [`g${index}`, ''])),
      web: `after: [${Array.from({ length: 33 }, (_, index) => `g${index}`).join(', ')}]`,
    }),
    line: 40,
    path: 'groups.web.after',
    detail: /33 groups; `after` takes at most 32/,
  },
  {
    what: 'a mistyped word',
    text: withRules({ db: '', web: 'atfer: db' }),
    line: 8,
    detail: /unknown key `atfer`/,
    suggestion: 'after',
  },
];

const cycles: Bad[] = [
  {
    what: 'two that wait for each other',
    text: withRules({ db: 'after: web', web: 'after: db' }),
    line: 8,
    path: 'groups.web.after',
    detail: /for ever: web after db after web$/,
  },
  {
    what: 'a circle of after and with',
    text: withRules({ web: 'after: db', db: 'with: cache', cache: 'after: [web]' }),
    line: 9,
    path: 'groups.cache.after[0]',
    detail: /for ever: cache after web after db with cache$/,
  },
  {
    what: 'a circle that others lead to, told without them',
    text: withRules({ first: 'after: web', web: 'after: db', db: 'after: cache', cache: 'after: web' }),
    line: 10,
    detail: /for ever: cache after web after db after cache$/,
  },
];

const places: Bad[] = [
  {
    what: 'two leaders that are kept apart, told where it begins',
    text: withRules({ db: 'apart: log', log: 'on: [bob]', app: 'with: [db, log]', web: 'with: app' }),
    line: 9,
    path: 'groups.app.with',
    detail: /node of db and log, which are kept apart \(`apart` of db\)$/,
  },
  {
    what: 'two that run together and share no node',
    text: withRules({ db: 'on: [alice]', web: 'on: [bob, carol], with: db' }),
    line: 8,
    path: 'groups.web.with',
    detail: /node of db, but their `on` lists share no node: web on bob, carol; db on alice/,
  },
  {
    what: 'three of which two and two share a node, and all three none',
    text: withRules({ db: 'on: [alice, bob]', app: 'on: [bob, carol], with: db', web: 'on: [carol], with: app' }),
    line: 9,
    path: 'groups.web.with',
    detail: /node of app and db, but.*web on carol; app on bob, carol; db on alice, bob/,
  },
  {
    what: 'two leaders that share no node',
    text: withRules({ db: 'on: [alice]', log: 'on: [bob]', web: 'with: [db, log]' }),
    line: 9,
    detail: /node of db and log.*web on alice, bob, carol; db on alice; log on bob/,
  },
  {
    what: 'with and apart of one pair',
    text: withRules({ db: '', web: 'with: db, apart: db' }),
    line: 8,
    path: 'groups.web.apart',
    detail: /`web` and `db` can never be apart, they run on one node: web with db$/,
  },
  {
    what: 'with and apart of one pair, said by both sides',
    text: withRules({ db: 'apart: web', web: 'with: db' }),
    line: 7,
    path: 'groups.db.apart',
    detail: /run on one node: web with db$/,
  },
  {
    what: 'apart within a chain of with',
    text: withRules({ c: '', b: 'with: c', a: 'with: b, apart: c' }),
    line: 9,
    detail: /`a` and `c` can never be apart, they run on one node: a with b with c$/,
  },
  {
    what: 'two followers of one group, kept apart',
    text: withRules({ db: '', web: 'with: db', batch: 'with: db, apart: web' }),
    line: 9,
    detail: /they run on one node: batch with db; web with db$/,
  },
  {
    what: 'apart of two that have one node only',
    text: withRules({ db: 'on: [alice]', web: 'on: [alice], apart: db' }),
    line: 8,
    path: 'groups.web.apart',
    detail: /can run on alice only: one of them would wait for ever/,
  },
  {
    what: 'apart of two that have one node only because of what they run with',
    text: withRules({ db: 'on: [alice]', web: 'with: db', batch: 'on: [alice], apart: web' }),
    line: 9,
    detail: /`batch` and `web` can run on alice only/,
  },
  {
    what: 'a preference that no node of `on` fits',
    text: withRules({ web: 'on: [bob, carol], prefer: [disk=ssd]' }),
    line: 7,
    path: 'groups.web.prefer[0]',
    detail: /no node of this group’s `on` list carries the label `disk=ssd`; they carry disk=hdd/,
    suggestion: 'disk=hdd',
  },
  {
    what: 'a preferred node outside of `on`',
    text: withRules({ web: 'on: [bob], prefer: alcie' }),
    line: 7,
    path: 'groups.web.prefer',
    detail: /`alcie` is neither a node of this group’s `on` list \(bob\) nor a label/,
  },
  {
    what: 'a mistyped preferred node',
    text: withRules({ web: 'prefer: [bbo]' }),
    line: 7,
    detail: /`bbo` is neither/,
    suggestion: 'bob',
  },
  {
    what: 'a preference twice',
    text: withRules({ web: 'prefer: [bob, bob]' }),
    line: 7,
    path: 'groups.web.prefer[1]',
    detail: /`bob` stands twice/,
  },
  {
    what: 'a label that is none',
    text: withRules({ web: 'prefer: [Disk=ssd]' }),
    line: 7,
    detail: /“Disk=ssd” is not a label/,
    suggestion: 'disk=ssd',
  },
  {
    what: 'failback where only a person may move it',
    text: withRules({ web: 'failback: 10m, failover: manual' }),
    line: 7,
    path: 'groups.web.failback',
    detail: /`failover: manual` forbids that/,
  },
  {
    what: 'failback at once',
    text: withRules({ web: 'failback: 0s' }),
    line: 7,
    detail: /must be from 1s to 24h, not 0s/,
  },
  {
    what: 'failback without a unit',
    text: withRules({ web: 'failback: 10' }),
    line: 7,
    detail: /a duration with its unit/,
    suggestion: '10s',
  },
  {
    what: 'a mistyped failover',
    text: withRules({ web: 'failover: manaul' }),
    line: 7,
    detail: /one of automatic or manual/,
    suggestion: 'manual',
  },
  {
    what: 'a mistyped word for what it requires',
    text: withRules({ web: 'requires: uplnik' }),
    line: 7,
    path: 'groups.web.requires',
    detail: /must be uplink, not “uplnik”/,
    suggestion: 'uplink',
  },
  {
    what: 'what it requires left empty',
    text: withRules({ web: 'requires: ' }),
    line: 7,
    detail: /must be uplink, not empty/,
  },
  {
    what: 'a preference of a group that another decides over',
    text: withRules({ db: '', web: 'with: db, prefer: bob' }),
    line: 8,
    path: 'groups.web.prefer',
    detail: /runs where `db` runs.*write it at `db`/,
  },
];

for (const [title, table] of Object.entries({ names, cycles, places }))
  describe(`a document is refused: rules between groups: ${title}`, () => {
    for (const bad of table)
      it(`${bad.what}, with line, reason and the nearest word`, () => assert.equal(missedIn(bad), undefined));
  });

describe('rules between groups', () => {
  it('are taken with one name or a list, and in any order of the groups', () => {
    const result = parseDocument(
      withRules({
        web: 'after: db, with: [cache], apart: batch',
        db: 'prefer: [disk=ssd, bob], failback: 10m',
        cache: '',
        batch: 'failover: manual, apart: [web, db]',
      }),
    );
    assert.ok(result.ok, JSON.stringify(result));
    const { web, db, batch } = result.config.groups;
    assert.deepEqual([web?.after, web?.with, web?.apart], [['db'], ['cache'], ['batch']]);
    assert.deepEqual([db?.prefer, db?.failbackMs, db?.failover], [['disk=ssd', 'bob'], 600_000, 'automatic']);
    assert.deepEqual([batch?.apart, batch?.failover], [['web', 'db'], 'manual']);
    assert.deepEqual(result.config.labels, { alice: ['disk=ssd', 'room=a'], bob: ['disk=hdd'] });
    assert.deepEqual(result.config.timing, LEASE_PROFILES.default);
  });

  it('a group may require the uplink; left out, it may outlive an outage of the coordinator', () => {
    const result = parseDocument(withRules({ web: 'requires: uplink, failover: manual', db: '' }));
    assert.ok(result.ok, JSON.stringify(result));
    const { web, db } = result.config.groups;
    assert.deepEqual([web?.requires, db?.requires], ['uplink', null]);
  });

  it('of two hundred groups in one chain are read at once, and the one circle among them is found', () => {
    const chain = (last: string) =>
      withRules(
        Object.fromEntries(
          Array.from({ length: 200 }, (_, index) => [`g${index}`, index === 0 ? last : `after: g${index - 1}`]),
        ),
      );
    assert.ok(parseDocument(chain('')).ok);
    const circle = parseDocument(chain('after: g199'));
    assert.ok(!circle.ok);
    assert.equal(circle.errors.length, 1);
    assert.match(circle.errors[0]?.detail ?? '', /^these wait for each other for ever: g1 after g0 after g199 after/);
  });

  it('a mistyped name hides no other mistake of the rules', () => {
    const result = parseDocument(withRules({ db: 'after: [wbe, web]', web: 'after: db' }));
    assert.ok(!result.ok);
    assert.deepEqual(
      result.errors.map(({ path }) => path),
      ['groups.db.after[0]', 'groups.web.after'],
    );
  });
});
