/** A command that is shown to be typed as it stands: no word of it may mean anything to a shell. */

/** @returns the value as one word of a POSIX shell; quoted where it has to be, such as `'srv-my\x2ddata.mount'`. */
export function shellWord(value: string): string {
  return /^[A-Za-z0-9_.,:/=@%+-]+$/.test(value) ? value : `'${value.replaceAll("'", `'\\''`)}'`;
}
