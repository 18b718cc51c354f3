/** Where a room says what an operator may want to read; one line each, no line ends in it. */
export interface Log {
  info(message: string): void;
  warn(message: string): void;
}

export const silent: Log = { info: () => undefined, warn: () => undefined };
