import assert from 'node:assert/strict';
import { test } from 'node:test';
import { controlGroupOf, objectPath } from './systemd.ts';

test('a unit’s object is its name, with everything but letters and digits written as numbers', () => {
  assert.equal(objectPath('nginx.service'), '/org/freedesktop/systemd1/unit/nginx_2eservice');
  assert.equal(objectPath('1a@x_y.service'), '/org/freedesktop/systemd1/unit/_31a_40x_5fy_2eservice');
});

for (const [slice, unit, expected] of [
  ['system.slice', 'nginx.service', '/system.slice/nginx.service'],
  ['system-app.slice', 'app@1.service', '/system.slice/system-app.slice/app@1.service'],
  ['-.slice', 'a.service', '/a.service'],
  ['a-b-c.slice', 'memory.service', '/a.slice/a-b.slice/a-b-c.slice/_memory.service'],
  ['system.slice', '_x.service', '/system.slice/__x.service'],
] as const)
  test(`${unit} of ${slice} runs in ${expected}`, () => assert.equal(controlGroupOf(slice, unit), expected));
