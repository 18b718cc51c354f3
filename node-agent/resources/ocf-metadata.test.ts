import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  decodeEntities,
  findAction,
  MAX_METADATA_BYTES,
  parseMetadata,
  parseOcfTime,
  valueProblem,
} from './ocf-metadata.ts';

const wrap = (inside: string) => `<?xml version="1.0"?><resource-agent name="x">${inside}</resource-agent>`;
const parameters = (inside: string) => parseMetadata(wrap(`<parameters>${inside}</parameters>`)).parameters;
const actions = (inside: string) => parseMetadata(wrap(`<actions>${inside}</actions>`));

test('a document with all that XML can put in the way', () => {
  const metadata = parseMetadata(`noise before
<?xml version='1.0' encoding="utf-8"?>
<!DOCTYPE resource-agent SYSTEM "ra-api-1.dtd" [ <!ENTITY a "<b>"> <!ELEMENT c (d)> ]>
<!-- <resource-agent name="no"> <parameter name="commented"/> -->
<resource-agent name='web &amp; more' version = "1.0">
<longdesc lang="en"><![CDATA[ </longdesc> <parameter name="fake"/> ]]> a < b & c <host> <!-- </longdesc> --> </longdesc>
<parameters>
<parameter name="one" required="1" unique="0">
  <longdesc>use <parameter name="fake"></longdesc><shortdesc lang="en">x</shortdesc>
  <content type="integer"/></parameter>
<parameter name="two" required='1'><content type="string" default="&lt;&#65;&#x42;&quot;&unknown;" /></parameter>
<parameter
   name="three"><content type="boolean" default="no"/>
</parameter>
<parameter name="alone"/>
<parameter name="choice"><content type="select"><option value="a"/><option value="b"/></content></parameter>
</parameters>
<actions><action name="start" timeout="1min"/></actions>
</resource-agent >`);
  assert.equal(metadata.name, 'web & more');
  assert.deepEqual([...metadata.parameters.keys()], ['one', 'two', 'three', 'alone', 'choice']);
  assert.equal(metadata.parameters.get('one')?.required, true);
  assert.equal(metadata.parameters.get('two')?.default, '<AB"&unknown;');
  assert.equal(metadata.parameters.get('three')?.type, 'boolean');
  assert.deepEqual(metadata.parameters.get('choice')?.options, ['a', 'b']);
  assert.equal(findAction(metadata, 'start')?.timeoutMs, 60_000);
});

test('a required parameter with a default can be left out', () => {
  assert.equal(
    parameters('<parameter name="nic" required="1"><content type="string" default="eth0"/></parameter>').get('nic')
      ?.required,
    false,
  );
});

test('a type that the default of the agent itself contradicts is not believed', () => {
  const found = parameters(`<parameter name="suffix"><content type="integer" default=".%F"/></parameter>
    <parameter name="port"><content type="boolean" default="5672"/></parameter>
    <parameter name="odd"><content type="second" default="5"/></parameter>`);
  assert.deepEqual(
    [...found.values()].map((parameter) => parameter.type),
    ['string', 'string', 'string'],
  );
});

test('values are held against the type', () => {
  const of = (type: 'integer' | 'boolean' | 'select') => ({
    name: 'p',
    required: false,
    type,
    default: undefined,
    options: ['a', 'b'],
  });
  for (const good of ['0', '-1', '+7', '080']) assert.equal(valueProblem(of('integer'), good), undefined);
  for (const bad of ['', '1.5', '5s', 'one', '1 ']) assert.notEqual(valueProblem(of('integer'), bad), undefined);
  for (const good of ['true', 'No', 'ON', '1']) assert.equal(valueProblem(of('boolean'), good), undefined);
  for (const bad of ['', 'maybe', '2']) assert.notEqual(valueProblem(of('boolean'), bad), undefined);
  assert.equal(valueProblem(of('select'), 'b'), undefined);
  assert.match(valueProblem(of('select'), 'c') ?? '', /one of a, b/);
});

test('the monitor of level 0 counts, that for no role before those for roles', () => {
  const plain = actions(`<action name="monitor" depth="10" interval="60s" timeout="9s"/>
    <action name="monitor" role="Promoted" interval="5s"/> <action name="monitor" depth="0" interval="20" timeout="30s"/>`);
  assert.deepEqual(findAction(plain, 'monitor'), {
    name: 'monitor',
    timeoutMs: 30_000,
    intervalMs: 20_000,
    depth: 0,
    role: undefined,
  });
  const roles = actions(
    '<action name="monitor" role="Promoted" interval="5s"/><action name="monitor" role="Unpromoted" interval="7s"/>',
  );
  assert.equal(findAction(roles, 'monitor')?.intervalMs, 7_000);
  assert.equal(findAction(roles, 'stop'), undefined);
});

test('times have the units that Pacemaker knows', () => {
  const table = {
    '20': 20_000,
    '20s': 20_000,
    ' 5 sec ': 5_000,
    '500ms': 500,
    '2min': 120_000,
    '2M': 120_000,
    '1h': 3_600_000,
    '0.5s': 500,
    '10us': 1,
  };
  for (const [text, ms] of Object.entries(table)) assert.equal(parseOcfTime(text), ms, text);
  for (const bad of ['', 'soon', '5 days', '-1', undefined, '1e9']) assert.equal(parseOcfTime(bad), undefined);
});

test('entities beyond Unicode stay as they are', () => {
  assert.equal(decodeEntities('&#x10FFFF;'), '\u{10ffff}');
  assert.equal(decodeEntities('&#x110000;&#9999999;'), '&#x110000;&#9999999;');
});

test('what is no meta-data is refused with the reason', () => {
  const table: readonly (readonly [string, RegExp])[] = [
    ['', /no <resource-agent>/],
    ['usage: x {start|stop}', /no <resource-agent>/],
    ['<resource-agent name="x"><parameters>', /ends before/],
    ['<resource-agent name="x"><longdesc>never', /<longdesc> does not end/],
    ['<resource-agent name="x"><!-- never', /comment does not end/],
    ['<!DOCTYPE x [ <!ENTITY a "b">', /declaration does not end/],
    ['<resource-agent name="x"><parameter name=unquoted/></resource-agent>', /no valid XML/],
    [`<resource-agent>${' '.repeat(MAX_METADATA_BYTES)}`, /more than/],
  ];
  for (const [text, reason] of table) assert.throws(() => parseMetadata(text), reason);
});

test('a text made to be slow is refused quickly', () => {
  const before = performance.now();
  for (const text of [
    `<a ${'b="c" '.repeat(80_000)}`,
    '<'.repeat(400_000),
    `<a${' '.repeat(400_000)}`,
    '<longdesc><!--'.repeat(30_000),
  ])
    assert.throws(() => parseMetadata(text));
  assert.ok(performance.now() - before < 2_000, `${performance.now() - before} ms`);
});
