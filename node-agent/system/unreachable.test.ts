import { equal } from 'node:assert/strict';
import { test } from 'node:test';
import { isByDate, unreachableBecause } from './unreachable.ts';

const now = new Date('2015-01-01T00:03:59Z');
const failed = (code: string) => Object.assign(new Error(`message of ${code}`), { code });

test('why a coordinator cannot be reached is said in words, with where to look', () => {
  const table: readonly [code: string, url: string, said: string][] = [
    ['ECONNREFUSED', 'https://ha.example.org/', 'nothing listens there'],
    ['ENOTFOUND', 'https://ha.example.org/', 'the host name is not found (getent hosts ha.example.org)'],
    [
      'EAI_AGAIN',
      'https://ha.example.org/',
      'the host name cannot be looked up: no name server answers this machine (/etc/resolv.conf; getent hosts ha.example.org)',
    ],
    ['ENETUNREACH', 'https://ha.example.org/', 'no route to it (ip route)'],
    ['ECONNRESET', 'https://ha.example.org/', 'the connection was cut'],
    ['ECONNRESET', 'http://ha.example.org/', 'the connection was cut; is it https://?'],
    ['EPROTO', 'https://ha.example.org/', 'it does not speak TLS there; is it http://?'],
    ['HPE_INVALID_CONSTANT', 'http://ha.example.org/', 'it does not speak HTTP there; is it https://?'],
    ['ERR_TLS_CERT_ALTNAME_INVALID', 'https://192.0.2.1/', 'its certificate is for another name than 192.0.2.1'],
    [
      'DEPTH_ZERO_SELF_SIGNED_CERT',
      'https://ha.example.org/',
      'its certificate is of an authority that is not known here (DEPTH_ZERO_SELF_SIGNED_CERT); NODE_EXTRA_CA_CERTS=FILE in the environment adds one',
    ],
    [
      'CERT_NOT_YET_VALID',
      'https://ha.example.org/',
      'its certificate is not valid yet by the clock of this machine, which says 2015-01-01T00:03Z',
    ],
    [
      'CERT_HAS_EXPIRED',
      'https://ha.example.org/',
      'its certificate has expired by the clock of this machine, which says 2015-01-01T00:03Z',
    ],
    ['ABORT_ERR', 'https://ha.example.org/', 'no answer in time'],
    ['EOTHER', 'https://ha.example.org/', 'message of EOTHER'],
  ];
  for (const [code, url, said] of table) equal(unreachableBecause(failed(code), new URL(url), now), said);
});

test('only what a certificate says by its date may be the clock', () => {
  equal(isByDate(failed('CERT_HAS_EXPIRED')), true);
  equal(isByDate(failed('CERT_NOT_YET_VALID')), true);
  equal(isByDate(failed('CERT_REVOKED')), false);
  equal(isByDate(new Error('toString')), false);
});
