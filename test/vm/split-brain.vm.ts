/** Both copies are written apart from each other, because somebody has promoted the wrong one by hand. */
import { equal, match, notEqual, ok } from 'node:assert/strict';
import { DISCARD_RISK } from '../../node-agent/cli/split-brain.ts';
import { monotonicMs, until } from '../lab/index.ts';
import { GROUP } from './cluster.ts';
import type { Machine } from './machine.ts';
import { scenario } from './scenario.ts';

const resolve = async (machine: Machine, ...options: readonly string[]) =>
  await machine.exec(['holdfast drbd resolve-split-brain r0', ...options].join(' '), { deadlineMs: 60_000 });

const fencing = (from: string, to: string) =>
  `sed -i 's/fencing ${from};/fencing ${to};/' /etc/drbd.d/r0.res && drbdadm adjust r0`;

scenario(
  'split brain: told with both sides, nothing is thrown away by itself, and one command on the side that loses heals it',
  async ({ say, cluster, owner, other, writer }) => {
    const { epoch } = (await cluster.product.status()).groups[GROUP] ?? {};
    await other.cut('replication');
    // the owner goes on alone once the coordinator knows that the other copy falls behind
    await until(async () => (await owner.exec('drbdadm cstate r0')).stdout.trim() !== 'Connected', {
      deadlineMs: 60_000,
      everyMs: 250,
      what: 'DRBD to see that its peer is gone',
    });
    await writer.acknowledgedAfter(monotonicMs(), 60_000);
    // as configured, DRBD asks, and does not let it happen
    const refused = await other.exec('drbdadm primary --force r0', { deadlineMs: 120_000 });
    match(refused.stderr, /Refusing to be Primary while peer is not outdated/);
    await other.mustExec(fencing('resource-and-stonith', 'dont-care'));
    await other.mustExec('drbdadm primary --force r0 && drbdadm secondary r0', { deadlineMs: 120_000 });
    await other.mustExec(fencing('dont-care', 'resource-and-stonith'));
    await other.mend('replication');

    const told = async () =>
      (await cluster.product.events()).findLast(({ kind }) => kind === 'copy.split-brain')?.detail;
    const detail = await until(told, { deadlineMs: 120_000, everyMs: 500, what: 'the split brain to be told' });
    say(detail);
    for (const { name } of [owner, other]) ok(detail.includes(`${name} is `), `what is on ${name}`);
    const against = (await cluster.product.why(GROUP)).candidates.find(({ node }) => node === other.name);
    equal(against?.eligible, false);
    ok(against?.reasons.some(({ rule }) => rule === 'split-brain'));
    notEqual((await cluster.product.cli(['move', GROUP, '--to', other.name, '--wait', '20s'])).code, 0);

    // never the side that serves, and never without the words
    const here = await resolve(owner, `--accept-risk=${DISCARD_RISK}`);
    notEqual(here.code, 0);
    match(here.stderr, /in use here/);
    const shown = await resolve(other);
    notEqual(shown.code, 0);
    match(shown.stderr, new RegExp(`--accept-risk=${DISCARD_RISK}`));
    await writer.acknowledgedAfter(monotonicMs(), 60_000);

    const given = await resolve(other, `--accept-risk=${DISCARD_RISK}`);
    equal(given.code, 0, given.stderr);
    const kept = await resolve(owner, '--keep-this-copy');
    say(
      `${(given.stdout + given.stderr).trim().split('\n')[0]}; on ${owner.name}: ${(kept.stdout + kept.stderr).trim()}`,
    );
    await cluster.product.healthy(GROUP);
    const after = (await cluster.product.status()).groups[GROUP];
    equal(after?.owner, owner.name);
    equal(after?.epoch, epoch, 'it was never interrupted');
  },
);
