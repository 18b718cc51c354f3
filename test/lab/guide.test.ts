/** docs/guide.md, walked (walk.ts) on three hosts with systemd. */
import { equal, match } from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { DeadlineError, type Finished, installNginx, Lab, labUnavailable, repoRoot, until } from './index.ts';
import { pattern, plain, type Step, stepsOf } from './walk.ts';

const HOSTS = ['coordinator', 'alice', 'bob'];
const env = { HOME: '/root', PATH: '/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', NO_COLOR: '1', LC_ALL: 'C.UTF-8' };
/** What only looks may be looked at again until it shows what it should. */
const LOOKS = /^(?:holdfast (?:status|why|events|version|doctor)|curl)\b/;

test('the guide leads where it says, step by step', {
  skip: labUnavailable() ?? false,
  timeout: 300_000,
}, async (t) => {
  await using lab = await Lab.create({ hosts: HOSTS, init: 'systemd' });

  async function attempt(host: string, script: string): Promise<Finished> {
    return await lab.host(host).exec(['bash', '-ec', `exec 2>&1\n${script}`], { env });
  }

  async function type(host: string, script: string): Promise<string> {
    const done = await attempt(host, script);
    equal(done.code, 0, `on ${host}:\n${script}\n${done.stdout}\n${await lab.logs()}`);
    return done.stdout;
  }

  /** Looks again and again, until it is as it should be or the time is up. @returns what was seen last. */
  async function look(host: string, script: string, expected: RegExp): Promise<string> {
    let seen = '';
    const looked = async () => {
      seen = (await attempt(host, script)).stdout;
      return expected.test(`${plain(seen)}\n`);
    };
    await until(looked, { deadlineMs: 30_000, what: 'what the guide shows' }).catch((error: unknown) => {
      if (!(error instanceof DeadlineError)) throw error;
    });
    return seen;
  }

  async function act([what = '', first = '', second = '']: readonly string[]): Promise<void> {
    switch (what) {
      case 'install':
        for (const host of HOSTS) {
          const links = `ln -s ${join(repoRoot, 'dist')} /usr/local/lib/holdfast; mkdir -p /usr/local/bin /root`;
          await type(host, `${links}; ln -s /usr/local/lib/holdfast/holdfast /usr/local/bin/holdfast`);
        }
        return;
      case 'carry': {
        const [from = '', path = ''] = first.split(':');
        const [to = '', place = ''] = second.split(':');
        await lab.host(to).writeFile(place, await lab.host(from).readFile(path), 0o600);
        return;
      }
      case 'nginx':
        return await installNginx(lab.host(first));
      case 'healthy':
        await until(async () => /OK: 1 group runs/.test(await type('coordinator', 'holdfast status')), {
          deadlineMs: 20_000,
          what: 'both nodes to be able to run the group',
        });
        return;
      case 'power-cut':
        return await lab.host(first).powerCut();
      case 'boot':
        await lab.host(first).boot();
        // systemd of the laboratory boots a target of its own, which wants nothing (test/lab/systemd.ts)
        await type(first, 'systemctl is-enabled --quiet holdfast && systemctl start holdfast');
        return;
      default:
        throw new Error(`the guide asks for what this test cannot do: ${what}`);
    }
  }

  async function follow(step: Step): Promise<void> {
    switch (step.kind) {
      case 'action':
        return await act(step.words);
      case 'file':
        for (const place of step.places) {
          const [host = '', path = ''] = place.split(':');
          await lab.host(host).writeFile(path, step.content);
        }
        return;
      case 'commands': {
        const { hosts, script, shown } = step;
        const looksOnly = script
          .trim()
          .split('\n')
          .every((line) => LOOKS.test(line));
        const expected = pattern(shown ?? '…');
        for (const host of hosts) {
          const seen = looksOnly ? await look(host, script, expected) : await type(host, script);
          match(`${plain(seen)}\n`, expected, `on ${host}:\n${script}\nshows\n${seen}`);
        }
        return;
      }
      default:
        return step satisfies never;
    }
  }

  const steps = stepsOf(readFileSync(join(repoRoot, 'docs/guide.md'), 'utf8'));
  for (const step of steps) await follow(step);
  t.diagnostic(`${steps.length} steps`);
});
