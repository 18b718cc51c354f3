/** How the command line ends: one list of exit codes, and the error that carries one. */

export const EXIT = {
  ok: 0,
  /** Refused or failed; nothing was changed. */
  refused: 1,
  /** Only with `plan --detailed-exitcode`. */
  planChanges: 2,
  /** Only of `simulate`: a group would not be served. */
  wouldBeDown: 3,
  usage: 64,
  badConfiguration: 65,
  unreachable: 69,
  tryAgain: 75,
  notAllowed: 77,
  notSetUp: 78,
  /** Unsafe without a risk accepted by its name. */
  unsafe: 107,
  /** The request left, the answer did not come: it may go on. */
  outcomeUnknown: 112,
  timedOut: 124,
} as const;
export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

/**
 * Ends the command with an exit code. The message says what failed and why; `next` says what to do about it.
 */
export class CliError extends Error {
  readonly exit: ExitCode;
  readonly next: string | undefined;
  /** Lines that belong to the message, such as the places in a document. */
  readonly lines: readonly string[];

  constructor(
    exit: ExitCode,
    message: string,
    options: { next?: string; lines?: readonly string[]; cause?: unknown } = {},
  ) {
    super(message, { cause: options.cause });
    this.name = 'CliError';
    this.exit = exit;
    this.next = options.next;
    this.lines = options.lines ?? [];
  }
}

/** As it is printed on standard error. */
export function errorText(error: CliError): string {
  const sentence = /[.!?]$/.test(error.message) ? error.message : `${error.message}.`;
  return [`Error: ${sentence}`, ...error.lines, ...(error.next === undefined ? [] : [`Next: ${error.next}`])].join(
    '\n',
  );
}

/** What keeps a file from being read, in words. */
export function whyUnreadable(error: unknown): string {
  const code = error instanceof Error && 'code' in error ? String(error.code) : undefined;
  switch (code) {
    case 'ENOENT':
      return 'there is no such file';
    case 'EISDIR':
      return 'it is a directory';
    case 'EACCES':
    case 'EPERM':
      return 'this user may not';
    default:
      return code ?? String(error);
  }
}
