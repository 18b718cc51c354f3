import { equal, match } from 'node:assert/strict';
import { describe, test } from 'node:test';
import { addressProblem } from './address.ts';

const own = ['https://ha.example.org'];

describe('a public receiver', () => {
  for (const url of [
    'https://hooks.example.org/holdfast',
    'https://hooks.slack.com/services/T0/B0/x',
    'https://events.pagerduty.com/v2/enqueue',
    'https://hooks.example.org:8443/?a=b',
    'https://192.88.98.1/',
    'https://[2606:4700::1111]/',
    'https://xn--bcher-kva.example/',
  ])
    test(`may be ${url}`, () => equal(addressProblem(url, false, own), null));
});

/** Ways to make a server ask what only it can reach; every one is an address of the machine, of its network, or of its cloud. */
const FORBIDDEN: readonly (readonly [url: string, why: RegExp])[] = [
  ['', /not a URL/],
  ['hooks.example.org/x', /not a URL/],
  ['https://', /not a URL/],
  ['ftp://hooks.example.org/', /https, not by ftp/],
  ['file:///etc/passwd', /https, not by file/],
  ['javascript:alert(1)', /https, not by/],
  ['data:text/plain,x', /https, not by/],
  ['http://hooks.example.org/', /plain http/],
  ['https://user:secret@hooks.example.org/', /password in a URL/],
  ['https://user@127.0.0.1/', /password in a URL/],
  ['https://hooks.example.org/#x', /behind #/],
  ['https://ha.example.org/v1/clusters', /coordinator itself/],
  ['https://ha.example.org:443/', /coordinator itself/],
  ['https://hooks.example.org:22/', /port 22/],
  ['https://hooks.example.org:6379/', /port 6379/],
  ['https://localhost/', /no public host/],
  ['https://LOCALHOST/', /no public host/],
  ['https://localhost./', /dot at its end|no public host/],
  ['https://router/', /no public host/],
  ['https://db.internal/', /no public host/],
  ['https://printer.local/', /no public host/],
  ['https://nas.home.arpa/', /no public host/],
  ['https://metadata.google.internal/', /no public host/],
  ['https://hooks.example.org./', /dot at its end/],
  ['https://127.0.0.1/', /loopback/],
  ['https://127.1/', /loopback/],
  ['https://0x7f000001/', /loopback/],
  ['https://2130706433/', /loopback/],
  ['https://017700000001/', /loopback/],
  ['https://①②⑦.⓪.⓪.①/', /loopback/],
  ['https://0/', /unspecified/],
  ['https://10.0.0.1/', /private/],
  ['https://172.16.0.1/', /private/],
  ['https://192.168.1.1/', /private/],
  ['https://169.254.169.254/latest/meta-data/', /linkLocal/],
  ['https://100.64.0.1/', /carrierGradeNat/],
  ['https://224.0.0.1/', /multicast/],
  ['https://255.255.255.255/', /broadcast/],
  ['https://[::1]/', /loopback/],
  ['https://[::]/', /unspecified/],
  ['https://[::ffff:127.0.0.1]/', /loopback/],
  ['https://[::ffff:a00:1]/', /private/],
  ['https://[fe80::1]/', /linkLocal/],
  ['https://[fd00::1]/', /uniqueLocal/],
  ['https://[64:ff9b::7f00:1]/', /rfc6052/],
  ['https://[2002:7f00:1::]/', /6to4/],
  [`https://hooks.example.org/${'x'.repeat(2_000)}`, /longer than 2000/],
];

describe('a receiver that is not public is refused:', () => {
  for (const [url, why] of FORBIDDEN)
    test(url.slice(0, 60) || 'nothing', () => match(addressProblem(url, false, own) ?? '', why));
});

describe('with --allow-private', () => {
  for (const url of ['http://127.0.0.1:9000/hook', 'https://10.0.0.1/', 'http://alerts/', 'http://[::1]:80/'])
    test(`${url} may be`, () => equal(addressProblem(url, true, own), null));
  test('other schemes, passwords and the coordinator itself may not', () => {
    match(addressProblem('ftp://10.0.0.1/', true, own) ?? '', /not by ftp/);
    match(addressProblem('http://a:b@10.0.0.1/', true, own) ?? '', /password/);
    match(addressProblem('http://10.0.0.9:8443/x', true, ['http://10.0.0.9:8443']) ?? '', /coordinator itself/);
  });
});
