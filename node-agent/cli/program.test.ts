import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { promisify } from 'node:util';
import { ran } from './testing.ts';

describe('what is not understood is refused with exit code 64', () => {
  const cases: [string, RegExp][] = [
    ['status --jsno', /unknown option '--jsno'\n\(Did you mean --json\?\)\nNext: holdfast status --help/],
    ['agent --rest=none', /unknown option '--rest=none'\n\(Did you mean --reset\?\)/],
    ['stauts', /unknown command 'stauts'\n\(Did you mean status\?\)/],
    ['node tokne create', /unknown command 'tokne'\n\(Did you mean token\?\)\nNext: holdfast node --help/],
    ['status db web', /too many arguments/],
    ['why', /missing required argument 'group'/],
    ['node token create', /required option '--node <name>'.*\nNext: holdfast node token create --help/],
    ['node', /Usage: holdfast node/],
    ['move db --wait soon', /--wait: “soon” is not a duration/],
    ['serve --listen nowhere --data x', /--listen: “nowhere” is not ADDRESS:PORT/],
    ['completion fish', /no completion for fish/],
    ['context set', /nothing to save/],
    ['join https://ha.example.org --token-file x', /which cluster\?/],
    ['join ftp://ha.example.org/shop --token-file x', /speaks http or https/],
    ['join https://user:pw@ha.example.org/shop --token-file x', /password in it would show/],
    ['join https://ha.example.org/shop --name UPPER --token-file x', /cannot be the name of a node/],
    ['join https://ha.example.org/shop --name a', /needs the one-time token/],
    ['join https://ha.example.org/shop --name a --token-file x --allow service=*.service', /\*/],
    ['agent --reset=watchdog', /--reset=watchdog is not in this version/],
    ['agent --reset=maybe', /must be none, watchdog or sysrq/],
  ];
  for (const [line, message] of cases) {
    it(line, async () => {
      const { exit, out, err } = await ran(line.split(' '));
      assert.match(err, message);
      assert.equal(exit, 64);
      assert.equal(out, '', 'nothing but data goes to standard output');
    });
  }
});

for (const line of [
  'simulate --down alice',
  'doctor',
  'webhook create URL',
  'import cib FILE',
  'config rollback',
  'group pause db',
  'cluster backup',
]) {
  it(`${line} is honestly not in this version`, async () => {
    const { exit, err } = await ran(line.split(' '));
    assert.match(err, /is not in this version/);
    assert.equal(exit, 64);
  });
}

describe('help', () => {
  it('lists what is under stress first, and nothing that is only planned', async () => {
    const { exit, out, err } = await ran(['--help']);
    assert.equal(exit, 0);
    assert.equal(err, '');
    assert.match(out, /Look:\n {2}status/);
    assert.doesNotMatch(out, /simulate|doctor|webhook/);
  });

  for (const line of [
    'status',
    'watch',
    'why',
    'events',
    'move',
    'group stop',
    'confirm-dead',
    'op wait',
    'plan',
    'apply',
    'config get',
    'node list',
    'node standby',
    'node ready',
    'node remove',
    'node token create',
    'join',
    'agent',
    'serve',
    'cluster create',
    'cluster list',
    'cluster confirm-history',
    'context set',
    'context show',
    'completion',
  ]) {
    it(`of ${line} has an example and the global options`, async () => {
      const { exit, out } = await ran([...line.split(' '), '--help']);
      assert.equal(exit, 0);
      assert.match(out, /Examples?:/);
      assert.match(out, /--cluster <name>/);
    });
  }
});

it('without a coordinator, commands say how to name one, with exit code 78', async () => {
  const { exit, err } = await ran(['cluster', 'list']);
  assert.equal(exit, 78);
  assert.match(err, /no coordinator is named\.\nNext: give --url, set HOLDFAST_URL, or save it: holdfast context set/);
});

it('confirm-dead without its risk explains the risk, with exit code 107', async () => {
  const { exit, err } = await ran(['confirm-dead', 'alice']);
  assert.equal(exit, 107);
  assert.match(err, /two machines then hold the same address.*\n.*\nNext: .*--accept-risk=not-really-off/);
  assert.equal((await ran(['confirm-dead', 'alice', '--accept-risk=yes'])).exit, 107);
});

it('a saved context is private, names the token by its file, and is extended by what is given', async () => {
  const home = await mkdtemp(join(tmpdir(), 'holdfast-context-'));
  try {
    const env = { XDG_CONFIG_HOME: home };
    assert.equal((await ran(['context', 'set', '--url', 'ha.example.org:8787', '--cluster', 'shop'], { env })).exit, 0);
    assert.equal((await ran(['context', 'set', '--token-file', '/root/token'], { env })).exit, 0);
    const path = join(home, 'holdfast', 'context.json');
    assert.deepEqual(JSON.parse(await readFile(path, 'utf8')), {
      url: 'http://ha.example.org:8787/',
      cluster: 'shop',
      tokenFile: '/root/token',
    });
    assert.equal((await stat(path)).mode & 0o777, 0o600);
    const shown = await ran(['context', 'show', '--json'], { env });
    assert.equal(JSON.parse(shown.out).schema, 'holdfast/context/v1');
  } finally {
    await rm(home, { recursive: true });
  }
});

it('the completion is a script that bash accepts, and completes commands below commands', async () => {
  const { out } = await ran(['completion', 'bash']);
  const script = `${out}\nCOMP_WORDS=(holdfast node token cr); COMP_CWORD=3; _holdfast; echo "\${COMPREPLY[@]}"`;
  const { stdout } = await promisify(execFile)('bash', ['-c', script]);
  assert.equal(stdout.trim(), 'create');
});
