/** Why a coordinator cannot be reached, in words that lead on: for the command line, the agent's log and `doctor`. */
import { errnoOf, textOf } from './errors.ts';

/** What OpenSSL says of a certificate by the date; either it or the clock of this machine is wrong. */
const BY_DATE: Readonly<Record<string, string>> = {
  CERT_NOT_YET_VALID: 'is not valid yet',
  CERT_HAS_EXPIRED: 'has expired',
};

/** @returns whether the clock of this machine may be the cause. */
export function isByDate(error: unknown): boolean {
  return Object.hasOwn(BY_DATE, errnoOf(error) ?? '');
}

/**
 * @param url where it was tried.
 * @param now the wall clock of this machine.
 * @example 'its certificate is not valid yet by the clock of this machine, which says 2015-01-01T00:03Z'
 */
export function unreachableBecause(error: unknown, url: URL, now = new Date()): string {
  const code = errnoOf(error) ?? '';
  const secure = url.protocol === 'https:';
  switch (code) {
    case 'ECONNREFUSED':
      return 'nothing listens there';
    case 'ENOTFOUND':
      return `the host name is not found (getent hosts ${url.hostname})`;
    case 'EAI_AGAIN':
      return `the host name cannot be looked up: no name server answers this machine (/etc/resolv.conf; getent hosts ${url.hostname})`;
    case 'EHOSTUNREACH':
    case 'ENETUNREACH':
      return 'no route to it (ip route)';
    case 'ECONNRESET':
    case 'EPIPE':
      return `the connection was cut${secure ? '' : '; is it https://?'}`;
    case 'EPROTO':
    case 'ERR_SSL_WRONG_VERSION_NUMBER':
    case 'ERR_SSL_PACKET_LENGTH_TOO_LONG':
      return 'it does not speak TLS there; is it http://?';
    case 'HPE_INVALID_CONSTANT':
      return `it does not speak HTTP there${secure ? '' : '; is it https://?'}`;
    case 'ERR_TLS_CERT_ALTNAME_INVALID':
      return `its certificate is for another name than ${url.hostname}`;
    case 'SELF_SIGNED_CERT_IN_CHAIN':
    case 'DEPTH_ZERO_SELF_SIGNED_CERT':
    case 'UNABLE_TO_GET_ISSUER_CERT_LOCALLY':
    case 'UNABLE_TO_VERIFY_LEAF_SIGNATURE':
      return `its certificate is of an authority that is not known here (${code}); NODE_EXTRA_CA_CERTS=FILE in the environment adds one`;
    default:
      break;
  }
  const byDate = BY_DATE[code];
  if (byDate !== undefined)
    return `its certificate ${byDate} by the clock of this machine, which says ${now.toISOString().slice(0, 16)}Z`;
  if (code.includes('CERT') || code.includes('SIGNATURE')) return `its certificate is not trusted (${code})`;
  // only time limits abort a request
  if (code === 'ABORT_ERR' || (error instanceof Error && error.name === 'TimeoutError')) return 'no answer in time';
  return textOf(error);
}
