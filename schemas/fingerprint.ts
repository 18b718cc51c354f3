/** @returns a short name for a text, the same for the same text: to tell whether somebody has the newest. Not for secrets: it can be forged. */
export function fingerprint(text: string): string {
  // FNV-1a, 64 bits
  let hash = 0xcbf29ce484222325n;
  for (let index = 0; index < text.length; index++)
    hash = BigInt.asUintN(64, (hash ^ BigInt(text.charCodeAt(index))) * 0x100000001b3n);
  return hash.toString(16).padStart(16, '0');
}
