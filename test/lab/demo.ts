/**
 * `npm run demo`: a cluster of three hosts on this machine, real coordinator, the classic stack (address, file system, MariaDB, nginx) on
 * one document. The host that runs it loses power; the demo shows who takes over, how long clients waited, and why. Exit code 0 when they
 * were served.
 */
import {
  Client,
  Cluster,
  disksUnavailable,
  documentOf,
  labUnavailable,
  monotonicMs,
  preparePackages,
  resources,
  SharedDisk,
  until,
  VIP,
} from './index.ts';

const names = ['alice', 'bob', 'carol'];
const DATABASE = '/srv/mysql';
/** One disk that all three reach, as a storage network would give it. These hosts have no watchdog, so the document says whose risk that is. */
const MOUNT = `      - mount: { device: /dev/shared0, directory: ${DATABASE}, fstype: ext4, disk: shared, acceptRisk: shared-disk-without-watchdog }`;
const startedMs = monotonicMs();

function say(text: string): void {
  const seconds = ((monotonicMs() - startedMs) / 1_000).toFixed(1).padStart(5);
  process.stdout.write(`[${seconds} s] ${text}\n`);
}

function indented(text: string): string {
  return text
    .trimEnd()
    .split('\n')
    .map((line) => `          ${line}`)
    .join('\n');
}

const seconds = (ms: number) => `${(ms / 1_000).toFixed(2)} s`;

async function demo(): Promise<number> {
  const missing = labUnavailable();
  if (missing !== undefined) {
    process.stderr.write(
      `The demo needs a machine that can be divided into hosts, and this one cannot be: ${missing}.\nRun it as root on Linux 5.14 or newer (a virtual machine will do).\n`,
    );
    return 1;
  }
  say('unpacking MariaDB, nginx and resource-agents for the hosts (nothing is installed on this machine)');
  await preparePackages();
  const withoutDisk = await disksUnavailable();
  if (withoutDisk !== undefined) say(`without a file system of its own: ${withoutDisk}`);
  const mount = withoutDisk === undefined ? [MOUNT] : [];
  const document = documentOf(names, [resources.vip, ...mount, resources.mariadb, resources.nginx]);
  say('three hosts, one coordinator; applying one document:');
  process.stdout.write(`${indented(document)}\n`);
  await using cluster = await Cluster.start({
    services: ['nginx', 'mariadb'],
    allow: ['mount=/srv/*'],
    document: null,
  });
  if (withoutDisk === undefined) {
    const disk = await SharedDisk.create(cluster.lab);
    await disk.fill(cluster.host('alice'), '/mnt', async () => {
      await cluster.host('alice').mustExec(['cp', '-a', `${DATABASE}/.`, '/mnt']);
    });
  }
  await cluster.product.apply(document);
  const owner = await cluster.settled('running', { deadlineMs: 40_000 });
  say(`${owner} runs it all`);
  const web = await Client.start(cluster.lab.client, { kind: 'http', address: VIP });
  const database = await Client.start(cluster.lab.client, { kind: 'mariadb', address: VIP });
  await web.nextAnswer(10_000);
  await database.nextAnswer(10_000);
  await cluster.healthy();
  process.stdout.write(`\n$ holdfast status\n${await cluster.product.mustCli(['status'])}\n`);

  const cutMs = monotonicMs();
  await cluster.host(owner).powerCut();
  say(`${owner} has lost power; a client asks http://${VIP}/ every 20 ms`);
  await until(() => (web.lastAnswer?.text ?? owner) !== owner, {
    deadlineMs: 40_000,
    what: 'the web server on another host',
  });
  const next = await cluster.settled('running', { deadlineMs: 10_000 });
  await database.nextAnswer(10_000);
  say(`${next} answers behind the same address`);

  const outageMs = web.longestGap(cutMs);
  const status = await cluster.status();
  const starts = status.groups.web?.resources ?? [];
  const startsMs = starts.reduce((sum, resource) => sum + (resource.startMs ?? 0), 0);
  const overlaps = await cluster.observer.overlaps({ sinceMs: 0 });
  process.stdout.write(`\n$ holdfast why web\n${await cluster.product.mustCli(['why', 'web'])}\n`);
  const story = (await cluster.product.mustCli(['events'])).split('\n').slice(-9).join('\n');
  process.stdout.write(`$ holdfast events | tail\n${story}\n`);
  process.stdout.write(
    [
      `outage as the client saw it       ${seconds(outageMs)}`,
      `  of it the services' own starts  ${seconds(startsMs)}  (${starts.map((resource) => `${resource.id} ${seconds(resource.startMs ?? 0)}`).join(', ')})`,
      `  of it the wait and the decision ${seconds(outageMs - startsMs)}`,
      `database outage                   ${seconds(database.longestGap(cutMs))}`,
      `hosts that held the address at once, ever: ${overlaps.length === 0 ? 'never more than one' : JSON.stringify(overlaps)}`,
      '',
    ].join('\n'),
  );
  await web.stop();
  await database.stop();
  return next !== owner && overlaps.length === 0 ? 0 : 1;
}

process.exitCode = await demo();
