/** What the tests of the judgements share. Nothing of it is in the agent. */
import assert from 'node:assert/strict';
import { parseDocument } from '../../schemas/document.ts';
import type { UnitOrigin, UnitState } from '../system/index.ts';
import { type Declared, fromDocument } from './declared.ts';
import type { Finding } from './finding.ts';

/** What alice is asked to run by a document with these resources in group `web`. */
export function declaredBy(resources: readonly string[], lease = 'default'): Declared {
  const lines = resources.map((resource) => `      - ${resource}`).join('\n');
  const parsed = parseDocument(
    `cluster: shop\nnodes: [alice, bob]\nlease: ${lease}\ngroups:\n  web:\n    resources:\n${lines}\n`,
  );
  assert.ok(parsed.ok, parsed.ok ? '' : JSON.stringify(parsed.errors));
  return fromDocument(parsed.config, 'alice', 'the test');
}

/** `error web/nginx: …` */
export function said(findings: readonly Finding[]): string[] {
  return findings.map(({ level, subject, detail }) => `${level} ${subject}: ${detail}`);
}

export function expectFindings(
  findings: readonly Finding[],
  expected: readonly (readonly [said: RegExp, fix?: RegExp])[],
): void {
  assert.equal(findings.length, expected.length, said(findings).join('\n'));
  expected.forEach(([text, fix], index) => {
    const finding = findings[index];
    assert.match(said(findings)[index] ?? '', text);
    if (fix === undefined) assert.equal(finding?.fix, undefined);
    else assert.match(finding?.fix ?? '', fix);
  });
}

export const origin: UnitOrigin = {
  active: 'inactive',
  sub: 'dead',
  job: false,
  load: 'loaded',
  file: 'disabled',
  wantedBy: [],
  triggeredBy: [],
};

export function unitState(unit: string, differs: Partial<UnitState> = {}): UnitState {
  return {
    ...origin,
    id: unit,
    loadError: '',
    conditions: true,
    dropIns: [],
    before: [],
    type: 'simple',
    restart: 'no',
    result: 'success',
    mainPid: 0,
    exit: { how: 'unknown', status: 0, pid: 0 },
    remainAfterExit: false,
    statusText: '',
    controlGroup: '',
    slice: 'system.slice',
    startTimeoutMs: 90_000,
    stopTimeoutMs: 90_000,
    ...differs,
  };
}
