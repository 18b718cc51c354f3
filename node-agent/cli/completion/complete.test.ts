import assert from 'node:assert/strict';
import { createServer } from 'node:net';
import { after, before, describe, it } from 'node:test';
import type { Argument, Command, Option } from 'commander';
import { processIo } from '../io.ts';
import { buildProgram } from '../program.ts';
import { ran, type Stub } from '../testing.ts';
import { takesValue } from './line.ts';
import { stubCluster } from './testing.ts';
import { placeOf, sourceOf } from './values.ts';

let cluster: Stub;
before(async () => {
  cluster = await stubCluster();
});
after(() => cluster.close());

/** What is offered for a line whose last word is being written: the kind, then the values. */
async function offered(line: string, env: Readonly<Record<string, string>> = cluster.env): Promise<string> {
  const { exit, out, err } = await ran(['complete', '--', ...line.split(' ')], { env });
  assert.deepEqual([exit, err], [0, ''], 'a completion says nothing but what it offers');
  return out
    .trimEnd()
    .split('\n')
    .map((one) => one.split('\t')[0])
    .join(' ');
}

describe('what is offered', () => {
  const cases: [line: string, what: string][] = [
    ['mov', 'words move'],
    ['node ', 'words list standby ready maintenance remove token'],
    ['node token cr', 'words create'],
    ['why ', 'words db web'],
    ['why d', 'words db'],
    ['move db --to ', 'words alice bob carol'],
    ['move db --to=b', 'words --to=bob'],
    ['move --to bob ', 'words db web'],
    ['move --json db --t', 'words --to --token-file'],
    ['move db --to bob --t', 'words --token-file'],
    ['node standby a', 'words alice'],
    ['node token create --node ', 'words alice bob carol'],
    ['op wait ', 'words op_5f0c2b7e91d3a648'],
    ['--cluster ', 'words shop'],
    ['confirm-dead bob --accept-risk=', 'words --accept-risk=not-really-off'],
    ['agent --reset ', 'words none watchdog sysrq'],
    ['completion ', 'words bash zsh fish'],
    ['join http://x/shop --allow v', 'words vip='],
    ['join http://x/shop --allow vip=192.0.2.0/24 --al', 'words --allow'],
    ['apply ', 'files'],
    ['--token-file=', 'files'],
    ['serve --data ', 'directories'],
    ['move db --wait ', 'words'],
    ['why -- ', 'words db web'],
    ['nonsense --what', 'words'],
    ['webhook ro', 'words rotate-secret'],
    ['incident s', 'words show'],
    ['token rev', 'words revoke'],
    ['impor', 'words'],
  ];
  for (const [line, what] of cases) it(`holdfast ${line}`, async () => assert.equal(await offered(line), what));

  it('with what each means', async () => {
    const { out } = await ran(['complete', '--', 'why', ''], { env: cluster.env });
    assert.equal(out, 'words\ndb\trunning on alice\nweb\tstopped\n');
  });
});

describe('where names cannot be had, nothing is offered and nothing is said', () => {
  it('no coordinator is named', async () => assert.equal(await offered('why ', {}), 'words'));
  it('the token file is missing', async () => {
    const { HOLDFAST_TOKEN: _, ...env } = cluster.env;
    assert.equal(await offered('why ', { ...env, HOLDFAST_TOKEN_FILE: '/nonexistent' }), 'words');
  });
  it('the cluster is unknown', async () => assert.equal(await offered('--cluster other why '), 'words'));
  it('nothing listens', async () => assert.equal(await offered('--url http://127.0.0.1:1 why '), 'words'));
  it('the coordinator takes the question and never answers: given up after a second', async () => {
    const mute = createServer(() => {});
    await new Promise<void>((resolve) => mute.listen(0, '127.0.0.1', resolve));
    const address = mute.address();
    const port = typeof address === 'object' ? address?.port : undefined;
    const before = performance.now();
    assert.equal(await offered(`--url http://127.0.0.1:${port} why `), 'words');
    assert.ok(performance.now() - before < 2_000);
    mute.close();
  });
});

it('it is known of every argument and every value of an option what may stand there (completion/values.ts)', () => {
  const unknown: string[] = [];
  const visit = (command: Command) => {
    const values: (Option | Argument)[] = [...command.options.filter(takesValue), ...command.registeredArguments];
    for (const one of values) {
      const word = 'flags' in one ? '' : one.name();
      if (sourceOf(command, one) === undefined) unknown.push(placeOf(command, one, word));
    }
    for (const child of command.createHelp().visibleCommands(command)) visit(child);
  };
  visit(buildProgram(processIo()));
  assert.deepEqual(unknown, []);
});
