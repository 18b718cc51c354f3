import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Policy } from '../agent/policy.ts';
import { parsePolicy } from '../agent/policy-file.ts';
import { allowOptions, policyFindings } from './policy.ts';
import { declaredBy, expectFindings } from './testing.ts';

const path = '/var/lib/holdfast/policy.yaml';
const declared = declaredBy([
  'vip: 192.0.2.10/24',
  'service: nginx',
  'ocf: { agent: "heartbeat:mysql", params: { datadir: /srv/mysql, log: "/var/log/it\'s" } }',
]);
const policyOf = (text: string) => new Policy(parsePolicy(text, path), { subnets: ['192.0.2.0/24'] }, path);

test('each refused resource is named with the line that decided, and all share the lines to put', () => {
  const findings = policyFindings(
    { path, joined: true, policy: policyOf('allow:\n  service: [mariadb.service]\n') },
    declared,
  );
  const fix =
    /put these lines below `allow:`.*:\nallow:\n {2}service: \[mariadb\.service, nginx\.service\]\n {2}ocf:\n {4}"heartbeat:mysql": \{ /;
  expectFindings(findings, [
    [/^error web\/nginx: \/var\/lib\/holdfast\/policy\.yaml:2: unit "nginx\.service" is not allowed/, fix],
    [/^error web\/mysql: \/var\/lib\/holdfast\/policy\.yaml: ocf: the agent heartbeat:mysql/, fix],
  ]);
});

test('a policy with the lines of the fix allows everything', () => {
  const [first] = policyFindings({ path, joined: true, policy: policyOf('') }, declared);
  const lines = first?.fix?.split('\n').slice(1).join('\n') ?? '';
  expectFindings(policyFindings({ path, joined: true, policy: policyOf(lines) }, declared), [
    [/^ok .*allows everything/],
  ]);
});

test('a machine that has not joined is told the options of join instead', () => {
  const [first] = policyFindings({ path, joined: false, policy: policyOf('') }, declared);
  assert.equal(
    first?.fix,
    "join with --allow service=nginx.service --allow ocf=heartbeat:mysql:datadir=/srv/mysql --allow 'ocf=heartbeat:mysql:log=/var/log/it'\\''s'",
  );
  assert.deepEqual(allowOptions(['# no line can allow this: …']), []);
});

test('a policy that cannot be used is one finding, with what keeps it from being used', () => {
  expectFindings(policyFindings({ path, joined: true, problem: 'line 3: unknown key servce' }, declared), [
    [/^error .*unknown key servce/, /until then this node runs nothing/],
  ]);
});
