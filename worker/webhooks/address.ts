/**
 * Which addresses a webhook may have: what a coordinator fetches for somebody must not reach what that somebody could not. A name that
 * resolves to a private address is not seen here; on a machine of one's own workerd refuses to connect (worker/config.capnp), and on
 * Cloudflare there is no way from a Worker into a private network.
 */
import ipaddr from 'ipaddr.js';
import { MAX_WEBHOOK_URL } from '../../schemas/webhook.ts';

const PUBLIC_PORTS = ['', '443', '8443'];
const LOCAL_ENDINGS = ['.local', '.localhost', '.internal', '.intranet', '.lan', '.home', '.corp', '.home.arpa'];

/** @returns what is wrong with the URL, or null. `own`: origins that are the coordinator itself. */
export function addressProblem(text: string, allowPrivate: boolean, own: readonly string[]): string | null {
  if (text.length > MAX_WEBHOOK_URL) return `longer than ${MAX_WEBHOOK_URL} characters`;
  if (!URL.canParse(text)) return `“${text}” is not a URL: write https://host/path`;
  const url = new URL(text);
  const plain = url.protocol === 'http:';
  if (!plain && url.protocol !== 'https:') return `a webhook is fetched by https, not by ${url.protocol}//`;
  if (plain && !allowPrivate)
    return 'plain http can be read and changed on its way: use https, or --allow-private for a receiver on a network of your own';
  if (url.username !== '' || url.password !== '')
    return 'a user and password in a URL end up in logs: the receiver knows the coordinator by its signature';
  if (url.hash !== '') return 'the part behind # is never sent: leave it out';
  if (own.includes(url.origin)) return 'that is this coordinator itself';
  if (allowPrivate) return null;
  if (!PUBLIC_PORTS.includes(url.port)) return `port ${url.port} is not allowed: 443 or 8443`;
  return hostProblem(url.hostname);
}

function hostProblem(hostname: string): string | null {
  const why = 'a receiver there needs --allow-private and a coordinator of your own';
  // URL has already turned every other spelling of an address (0x7f000001, 2130706433, 127.1, ①②⑦.⓪.⓪.①) into its plain form
  const literal = hostname.startsWith('[') ? hostname.slice(1, -1) : hostname;
  if (ipaddr.isValid(literal)) {
    const range = ipaddr.process(literal).range();
    return range === 'unicast' ? null : `${hostname} is no public address (${range}): ${why}`;
  }
  if (hostname.endsWith('.')) return `${hostname}: leave the dot at its end out`;
  if (!hostname.includes('.') || LOCAL_ENDINGS.some((ending) => hostname.endsWith(ending)))
    return `${hostname} is the name of no public host: ${why}`;
  return null;
}
