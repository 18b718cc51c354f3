/** Which addresses a host can hold as a virtual IP. Used on `address/prefix` as it stands in the document. */
import ipaddr from 'ipaddr.js';

export interface VirtualAddress {
  /** In canonical form, so that two spellings of one address compare equal. */
  readonly ip: string;
  readonly prefix: number;
}
export type AddressVerdict = { ok: true; address: VirtualAddress } | { ok: false; detail: string; suggestion?: string };

/** Ranges of ipaddr.js that no host can hold, or that mean something else on every link. */
const REFUSED_RANGES: Readonly<Record<string, string>> = {
  unspecified: 'is the unspecified address, not one a host can hold',
  broadcast: 'is the broadcast address, not one a host can hold',
  multicast: 'is a multicast address; a virtual IP must be unicast',
  loopback: 'is a loopback address, which no other machine can reach',
  linkLocal: 'is a link-local address, which means something else on every link',
  ipv4Mapped: 'is an IPv4 address in IPv6 clothing; write it as IPv4',
  rfc6145: 'is an address of a translator, not one a host can hold',
  rfc6052: 'is an address of a translator, not one a host can hold',
  teredo: 'is an address of a tunnel, not one a host can hold',
};

/** @returns the address, or why it cannot be a virtual IP and what to write instead. */
export function readVirtualAddress(text: string): AddressVerdict {
  const slash = text.indexOf('/');
  const ipText = slash === -1 ? text : text.slice(0, slash);
  const ip = readIp(ipText);
  if (typeof ip === 'string') return { ok: false, detail: ip };
  const bits = ip.kind() === 'ipv4' ? 32 : 128;
  const usual = ip.kind() === 'ipv4' ? 24 : 64;
  const range = REFUSED_RANGES[ip.range()];
  if (range !== undefined) {
    const fix = mappedFix(ip, slash === -1 ? undefined : text.slice(slash + 1));
    return { ok: false, detail: `${ipText} ${range}`, ...(fix === undefined ? {} : { suggestion: fix }) };
  }
  const [firstByte = 0] = ip.toByteArray();
  if (bits === 32 && firstByte >= 240) return { ok: false, detail: `${ipText} is in the reserved range 240.0.0.0/4` };
  if (slash === -1)
    return {
      ok: false,
      detail: `${ipText} has no prefix length; write that of its subnet, for example ${ipText}/${usual}`,
      suggestion: `${ipText}/${usual}`,
    };
  const prefixText = text.slice(slash + 1);
  if (!/^(0|[1-9]\d*)$/.test(prefixText) || Number(prefixText) < 1 || Number(prefixText) > bits)
    return {
      ok: false,
      detail: `the prefix length of ${ipText} must be a number from 1 to ${bits}, not “${prefixText}”`,
    };
  const prefix = Number(prefixText);
  const end = endOfSubnet(ip.toByteArray(), prefix, bits);
  if (end === 'first' && bits === 32)
    return { ok: false, detail: `${text} is the network itself; write the address of a host in it` };
  if (end === 'first')
    return {
      ok: false,
      detail: `${text} is the anycast address of its routers; write the address of a host in the subnet`,
    };
  if (end === 'last' && bits === 32)
    return { ok: false, detail: `${text} is the broadcast address of its subnet; write the address of a host in it` };
  return { ok: true, address: { ip: ip.toString(), prefix } };
}

function readIp(text: string): ipaddr.IPv4 | ipaddr.IPv6 | string {
  if (text.includes('%')) return `${text} names a zone; leave %… out and give the interface as {address, interface}`;
  if (text.includes(':'))
    return ipaddr.IPv6.isValid(text) ? ipaddr.IPv6.parse(text) : `“${text}” is not an IPv6 address`;
  if (ipaddr.IPv4.isValidFourPartDecimal(text)) return ipaddr.IPv4.parse(text);
  if (/[a-z]/i.test(text)) return `“${text}” is not an IP address; names are not looked up, write the address`;
  return `“${text}” is not an IPv4 address: four numbers from 0 to 255, without leading zeros`;
}

function mappedFix(ip: ipaddr.IPv4 | ipaddr.IPv6, prefix: string | undefined): string | undefined {
  if (!(ip instanceof ipaddr.IPv6) || !ip.isIPv4MappedAddress()) return undefined;
  const length = prefix === undefined ? 24 : Number(prefix) - 96;
  return `${ip.toIPv4Address().toString()}/${length >= 1 && length <= 32 ? length : 24}`;
}

/** Subnets of one or two addresses have neither a network nor a broadcast address (RFC 3021, RFC 6164). */
function endOfSubnet(bytes: readonly number[], prefix: number, bits: number): 'first' | 'last' | undefined {
  if (prefix >= bits - 1) return undefined;
  let zeros = true;
  let ones = true;
  for (let bit = prefix; bit < bits; bit++) {
    const set = (((bytes[bit >> 3] ?? 0) >> (7 - (bit & 7))) & 1) === 1;
    if (set) zeros = false;
    else ones = false;
  }
  return zeros ? 'first' : ones ? 'last' : undefined;
}
