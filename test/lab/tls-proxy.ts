/** nginx with TLS in front of the coordinator, by the configuration that docs/coordinator.md gives, and an authority of its own. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Lab } from './lab.ts';
import { repoRoot } from './paths.ts';
import type { Front } from './product.ts';
import { until } from './until.ts';

const dir = '/srv/tls';
/** Where every host finds the certificate of the authority. */
export const authorityFile = '/etc/holdfast-authority.pem';
export const proxyUnit = 'nginx-tls';

/** The block of docs/coordinator.md, with the certificate that is made here. */
async function documentedServer(): Promise<string> {
  const text = await readFile(join(repoRoot, 'docs/coordinator.md'), 'utf8');
  const block = /^```\n(server \{\n[\s\S]*?)^```$/m.exec(text)?.[1];
  if (block === undefined) throw new Error('docs/coordinator.md has no server block of nginx any more');
  return block
    .replace(/ssl_certificate .*/, `ssl_certificate ${dir}/server.pem;`)
    .replace(/ssl_certificate_key .*/, `ssl_certificate_key ${dir}/server.key;`);
}

/** Starts the proxy on the arbiter and makes every host able to trust it. */
export async function tlsProxy(lab: Lab): Promise<Front> {
  const { arbiter } = lab;
  const address = arbiter.address('uplink');
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2'];
  await arbiter.mustExec(['mkdir', '-p', dir]);
  const openssl = async (...args: readonly string[]) => await arbiter.mustExec(['openssl', ...args]);
  const authority = ['-keyout', `${dir}/authority.key`, '-out', `${dir}/authority.pem`];
  await openssl('req', '-x509', '-subj', '/CN=authority of the laboratory', ...key, ...authority);
  const server = ['-keyout', `${dir}/server.key`, '-out', `${dir}/server.pem`];
  const signed = ['-CA', `${dir}/authority.pem`, '-CAkey', `${dir}/authority.key`];
  const names = ['-addext', `subjectAltName=IP:${address}`, '-addext', 'basicConstraints=CA:FALSE'];
  await openssl('req', '-x509', '-subj', '/CN=coordinator', ...key, ...names, ...signed, ...server);

  const certificate = await arbiter.readFile(`${dir}/authority.pem`);
  for (const host of [...lab.hosts.values(), arbiter]) await host.writeFile(authorityFile, certificate, 0o644);
  const configuration = `pid ${dir}/nginx.pid;
error_log ${dir}/error.log;
daemon off;
events {}
http {
access_log ${dir}/access.log;
${await documentedServer()}}
`;
  await arbiter.writeFile(`${dir}/nginx.conf`, configuration, 0o644);
  await arbiter.unit(proxyUnit, ['nginx', '-c', `${dir}/nginx.conf`], { restart: 'no' }).start();
  await until(async () => (await arbiter.exec(['ss', '-Hltn', 'sport = :443'])).stdout !== '', {
    deadlineMs: 10_000,
    what: 'the proxy to listen',
  });
  return { url: `https://${address}`, listen: '127.0.0.1:8443', env: { NODE_EXTRA_CA_CERTS: authorityFile } };
}

/** Each request that the proxy passed on: method, path and status. */
export async function passedOn(lab: Lab): Promise<readonly string[]> {
  const log = await lab.arbiter.readFile(`${dir}/access.log`);
  return [...log.matchAll(/"(\w+ \S+) HTTP\/[\d.]+" (\d+)/g)].map(([, request, status]) => `${request} ${status}`);
}
