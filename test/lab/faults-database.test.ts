/** A database that is killed while it recovers: started again in place, never twice at once, and nothing that was committed is lost. */
import { deepEqual, equal, ok } from 'node:assert/strict';
import { faultTest, names, pidsOf, runningOnAlice } from './faults.ts';
import { Client, documentOf, type Host, mariadb, resources, signalAll, until, VIP } from './index.ts';

const SUPERVISORS = ['mysqld_safe', 'mariadbd-safe'];
const ROWS = 40_000;
/** How often it is killed while it starts. */
const KILLS = 3;

/** Runs SQL as root on the host that has the database. */
async function sql(host: Host, statement: string): Promise<string> {
  const argv = [
    'mariadb',
    `--socket=${mariadb.params.socket}`,
    '--batch',
    '--skip-column-names',
    'lab',
    '-e',
    statement,
  ];
  return (await host.mustExec(argv)).trim();
}

/** SIGKILL to server and supervisor; @returns whether there was a server. */
function kill(host: Host): boolean {
  const servers = pidsOf(host, 'mariadbd');
  ok(servers.length <= 1, `two servers at once: ${servers.join(', ')}`);
  signalAll([...SUPERVISORS.flatMap((comm) => pidsOf(host, comm)), ...servers], 'SIGKILL');
  return servers.length === 1;
}

faultTest(
  'MariaDB is killed while it recovers from a crash, three times: tried again in place, every committed row is there, never a second server',
  {
    services: ['mariadb'],
    document: documentOf(names, [resources.vip, `${resources.mariadb}\n        failures: { count: 8, window: 10m }`]),
    timeoutMs: 180_000,
  },
  async (cluster, t) => {
    const alice = await runningOnAlice(cluster);
    const database = await Client.start(cluster.lab.client, { kind: 'mariadb', address: VIP });
    await database.nextAnswer(20_000);
    await sql(alice, 'CREATE TABLE t (id INT PRIMARY KEY, filling VARCHAR(200))');
    await sql(alice, `INSERT INTO t SELECT seq, REPEAT('x', 200) FROM seq_1_to_${ROWS}`);
    // a transaction that is open when it dies has to be rolled back by the recovery
    await alice.spawn([
      'mariadb',
      `--socket=${mariadb.params.socket}`,
      'lab',
      '-e',
      `BEGIN; INSERT INTO t SELECT seq, 'open' FROM seq_${ROWS + 1}_to_${2 * ROWS}; SELECT SLEEP(1000)`,
    ]);
    await until(
      async () =>
        (await sql(alice, 'SELECT COUNT(*) FROM information_schema.innodb_trx WHERE trx_rows_modified > 0')) === '1',
      // InnoDB makes this table anew only when nobody has read it for 0.1 s
      { deadlineMs: 20_000, everyMs: 300, what: 'a transaction to be open' },
    );

    const recoveries = async () =>
      (await alice.readFile(mariadb.params.log)).split('Starting crash recovery').length - 1;
    let before = await recoveries();
    ok(kill(alice), 'it ran');
    for (let round = 1; round <= KILLS; round++) {
      await until(async () => (await recoveries()) > before, {
        deadlineMs: 30_000,
        everyMs: 2,
        what: `its recovery to begin for the ${round}. time`,
      });
      before = await recoveries();
      ok(kill(alice), `it was recovering (${round})`);
    }
    await until(async () => (await recoveries()) > before, { deadlineMs: 30_000, what: 'the last recovery to begin' });
    await cluster.settled('running', { on: 'alice', deadlineMs: 60_000 });
    await database.nextAnswer(20_000);
    equal(pidsOf(alice, 'mariadbd').length, 1);
    equal(await sql(alice, 'SELECT COUNT(*) FROM t'), String(ROWS));
    equal(await sql(alice, 'CHECK TABLE t').then((said) => said.split('\t').at(-1)), 'OK');
    equal((await cluster.status()).groups.web?.epoch, 1, 'in place');
    const failed = (await cluster.events()).filter(({ kind }) => kind === 'resource.failed');
    ok(failed.length > KILLS, 'each of them was told');
    deepEqual(new Set(failed.map(({ resource }) => resource)), new Set(['mysql']));
    t.diagnostic(failed.map(({ detail }) => detail.split('\n')[0]).join('; '));
    await database.stop();
  },
);
