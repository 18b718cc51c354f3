import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { ran } from './testing.ts';

describe('what is not understood is refused with exit code 64', () => {
  const cases: [string, RegExp][] = [
    ['status --jsno', /unknown option '--jsno'\n\(Did you mean --json\?\)\nNext: holdfast status --help/],
    ['agent --rest=none', /unknown option '--rest=none'\n\(Did you mean --reset\?\)/],
    ['stauts', /unknown command 'stauts'\n\(Did you mean status\?\)/],
    ['node tokne create', /unknown command 'tokne'\n\(Did you mean token\?\)\nNext: holdfast node --help/],
    ['status db web', /too many arguments/],
    ['simulate', /what is to be assumed\?\nNext: give --down NODE/],
    ['simulate --down', /argument missing/],
    ['simulate alice', /too many arguments/],
    ['why', /missing required argument 'group'/],
    ['node token create', /required option '--node <name>'.*\nNext: holdfast node token create --help/],
    ['node', /Usage: holdfast node/],
    ['move db --wait soon', /--wait: “soon” is not a duration/],
    [
      'group pause db',
      /say why with --reason, for whoever finds it so\.\nNext: holdfast group pause db --reason "disk swap" --for 1h/,
    ],
    ['group pause --all --for 2h', /Next: holdfast group pause --all --reason "disk swap" --for 2h/],
    ['group pause --reason x', /name a group, or --all for every group/],
    ['group pause db --all --reason x', /name a group, or --all for every group, not both/],
    ['group resume', /name a group, or --all for every group/],
    ['group pause db --reason x --for 31h31', /--for: “31h31” is not a duration/],
    ['group pause db --reason x --for 721h', /721h is not between 1ms and 720h \(30 days\)/],
    ['group pause db --reason x --for 0s', /0s is not between/],
    [`group pause db --reason ${'x'.repeat(501)}`, /501 characters are too many/],
    ['node maintenance alice', /Next: holdfast node maintenance alice --reason "disk swap" --for 1h/],
    ['serve --listen nowhere --data x', /--listen: “nowhere” is not ADDRESS:PORT/],
    ['completion tcsh', /Allowed choices are bash, zsh, fish/],
    ['context set', /nothing to save/],
    ['join https://ha.example.org --token-file x', /which cluster\?/],
    ['join ftp://ha.example.org/shop --token-file x', /speaks http or https/],
    ['join https://user:pw@ha.example.org/shop --token-file x', /password in it would show/],
    ['join https://ha.example.org/shop --name UPPER --token-file x', /cannot be the name of a node/],
    ['join https://ha.example.org/shop --name a', /needs the one-time token/],
    ['join https://ha.example.org/shop --name a --token-file x --allow service=*.service', /\*/],
    ['agent --watchdog /dev/watchdog1', /--watchdog \/dev\/watchdog1 needs --reset=watchdog/],
    ['agent --reset=watchdog --watchdog watchdog1', /must be the absolute path/],
    ['join https://ha.example.org/shop --name a --token-file x --reset=maybe', /must be none, watchdog or sysrq/],
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

for (const line of ['import cib FILE', 'cluster backup']) {
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
    assert.doesNotMatch(out, /import/);
  });

  for (const line of [
    'status',
    'watch',
    'why',
    'simulate',
    'events',
    'doctor',
    'move',
    'group stop',
    'group pause',
    'group resume',
    'node maintenance',
    'confirm-dead',
    'op list',
    'op show',
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
