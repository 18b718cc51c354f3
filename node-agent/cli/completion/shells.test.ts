/** The scripts in the shells they are for. zsh and fish are Debian's, unpacked for this test and not installed. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { after, before, describe, it, type TestContext } from 'node:test';
import { promisify } from 'node:util';
import { preparePackages } from '../../../test/lab/packages.ts';
import type { Stub } from '../testing.ts';
import { stubCluster } from './testing.ts';

const run = promisify(execFile);
const dist = resolve(import.meta.dirname, '../../../dist');
const LIBRARIES = 'usr/lib/x86_64-linux-gnu';

let cluster: Stub;
/** fish writes into it. */
let home: string;
before(async () => {
  cluster = await stubCluster();
  home = await mkdtemp(join(tmpdir(), 'holdfast-shells-'));
});
after(async () => {
  await cluster.close();
  await rm(home, { recursive: true });
});

async function output(shell: string, args: readonly string[], root?: string): Promise<string> {
  const { stdout } = await run(shell, args, {
    timeout: 30_000,
    env: {
      ...cluster.env,
      PATH: `${dist}:/usr/bin:/bin`,
      HOME: home,
      TERM: 'dumb',
      LC_ALL: 'C.UTF-8',
      ...(root === undefined ? {} : { ROOT: root, LD_LIBRARY_PATH: join(root, LIBRARIES) }),
    },
  });
  return stdout;
}

/** Where the shells are unpacked; the test is skipped by its name where they cannot be had. */
async function unpacked(context: TestContext): Promise<string | undefined> {
  try {
    const root = await preparePackages(['zsh', 'fish']);
    await stat(join(root, 'usr/bin/zsh'));
    return root;
  } catch (error) {
    context.skip(`zsh and fish cannot be unpacked here: ${error instanceof Error ? error.message : String(error)}`);
    return undefined;
  }
}

describe('bash', () => {
  /** As readline takes a line apart. */
  async function replies(words: readonly string[]): Promise<string> {
    const list = words.map((word) => `'${word}'`).join(' ');
    const script = `source <(holdfast completion bash)
COMP_WORDS=(holdfast ${list}); COMP_CWORD=${words.length}; _holdfast; echo "\${COMPREPLY[@]}"`;
    return (await output('bash', ['-c', script])).trim();
  }

  for (const [words, expected] of [
    [['node', 'token', 'cr'], 'create'],
    [['why', ''], 'db web'],
    [['move', 'db', '--to', '=', 'b'], 'bob'],
    [['move', 'db', '--to', '='], 'alice bob carol'],
    [['--url', 'http', ':', '//127.0.0.1', ':', '1', 'why', ''], ''],
    [['join', 'x', '--allow', 'v'], 'vip='],
    [['apply', '/etc/hostn'], '/etc/hostname'],
    [['serve', '--data', '/us'], '/usr'],
    [['--token-file', '=', '/etc/hostn'], '/etc/hostname'],
  ] as const)
    it(`completes ${words.join(' ')}`, async () => assert.equal(await replies(words), expected));
});

describe('fish', () => {
  async function replies(line: string, root: string): Promise<string[]> {
    const script = `set -p fish_function_path ${root}/usr/share/fish/functions
holdfast completion fish | source
complete -C '${line}'`;
    return (await output(join(root, 'usr/bin/fish'), ['--no-config', '-c', script], root)).trimEnd().split('\n');
  }

  for (const [line, expected] of [
    ['holdfast node tok', ['token\tOne-time tokens for joining']],
    ['holdfast why ', ['db\trunning on alice', 'web\tstopped']],
    ['holdfast move db --to=b', ['--to=bob\tstandby']],
    ['holdfast move db --wait ', ['']],
    ['holdfast apply /etc/hostn', ['/etc/hostname']],
    ['holdfast --token-file=/etc/hostn', ['--token-file=/etc/hostname']],
  ] as const)
    it(`completes ${line}`, async (context) => {
      const root = await unpacked(context);
      if (root !== undefined) assert.deepEqual(await replies(line, root), expected);
    });
});

describe('zsh', () => {
  /** Types into a zsh on a terminal of its own. @returns what it showed, with the line as it stood at the end in « ». */
  async function typed(keys: string, root: string): Promise<string> {
    const modules = `module_path=(${root}/${LIBRARIES}/zsh/5.9)`;
    const driver = `${modules}; zmodload zsh/zpty
zpty shell "${root}/usr/bin/zsh -f -i +Z"
zpty -w shell '${modules}; fpath=(${root}/usr/share/zsh/functions/**/*(/))
setopt zle; autoload -U compinit; compinit -u -D; stty columns 200; source <(holdfast completion zsh)
show() { zle -I; print -r -- "«$BUFFER»"; BUFFER= }; zle -N show; bindkey "^Xs" show
print REA""DY'
zpty -r -m shell shown '*READY*'
zpty -w -n shell $'${keys}\\C-xs'
zpty -r -m shell shown '*»*'; print -r -- "$shown"; zpty -d shell`;
    return await output(join(root, 'usr/bin/zsh'), ['-f', '-c', driver], root);
  }

  for (const [keys, expected] of [
    ['holdfast node tok\\tcr\\t--no\\tb\\t', /«holdfast node token create --node bob »/],
    ['holdfast why \\t', /db +-- running on alice\s+web +-- stopped[\s\S]*«holdfast why »/],
    ['holdfast move db --to=b\\t', /«holdfast move db --to=bob »/],
    ['holdfast join x --allow v\\t', /«holdfast join x --allow vip=»/],
    ['holdfast apply /etc/hostn\\t', /«holdfast apply \/etc\/hostname »/],
    ['holdfast --token-file=/etc/hostn\\t', /«holdfast --token-file=\/etc\/hostname »/],
  ] as const)
    it(`completes ${keys.replaceAll('\\t', '⇥')}`, async (context) => {
      const root = await unpacked(context);
      if (root !== undefined) assert.match(await typed(keys, root), expected);
    });
});
