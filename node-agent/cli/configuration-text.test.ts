import assert from 'node:assert/strict';
import { it } from 'node:test';
import { parseDocument } from '../../schemas/document.ts';
import { planText, problemLines } from './configuration-text.ts';

const plain = { paint: (_: unknown, text: string) => text };

it('a plan shows the effects before the difference', () => {
  const text = planText(
    {
      schema: 'holdfast/plan/v1',
      revision: 3,
      changed: true,
      diff: '===================================================================\n--- revision 3\n+++ new\n@@ -1 +1 @@\n-a\n+b\n',
      effects: [
        { group: 'db', effect: 'restarts', detail: 'nginx changed: it and what comes after it restart on alice' },
        { group: '*', effect: 'settings', detail: 'lease timing changes' },
        { group: 'web', effect: 'unchanged', detail: 'no change' },
      ],
    },
    plain,
  );
  assert.equal(
    text,
    `Plan, against revision 3:

GROUP  EFFECT    DETAIL
db     restarts  nginx changed: it and what comes after it restart on alice
all    settings  lease timing changes
1 more unchanged

--- revision 3
+++ new
@@ -1 +1 @@
-a
+b`,
  );
});

it('a plan that changes nothing says so', () => {
  const plan = { schema: 'holdfast/plan/v1', revision: 3, changed: false, diff: '', effects: [] } as const;
  assert.equal(planText({ ...plan, effects: [] }, plain), 'nothing changes (against revision 3)');
});

it('a problem is shown with its place, the line and a mark, and the word that was meant', () => {
  const text =
    'cluster: shop\nnodes: [alice, bob]\ngroups:\n  db:\n    on: [alice, bbo]\n    resources: [{ vip: 192.0.2.1/24 }]\n';
  const result = parseDocument(text);
  assert.ok(!result.ok);
  assert.deepEqual(problemLines({ name: 'shop.yaml', text }, result.errors), [
    'shop.yaml:5:17: groups.db.on[1]: there is no node `bbo`; nodes: alice, bob; did you mean `bob`?',
    '  5 |     on: [alice, bbo]',
    '    |                 ^',
  ]);
});

it('of a hundred problems twenty are shown', () => {
  const errors = Array.from({ length: 100 }, (_, i) => ({ path: `x${i}`, detail: 'wrong' }));
  const lines = problemLines({ name: 'f', text: '' }, errors);
  assert.equal(lines.length, 21);
  assert.equal(lines.at(-1), '… and 80 more');
});
