/** What every command is given: where to print, and, when it asks, the coordinator. */
import type { Command } from 'commander';
import { Client } from './client.ts';
import { type ConnectionOptions, connectionFrom } from './context.ts';
import type { Io } from './io.ts';

export interface GlobalOptions extends ConnectionOptions {
  readonly json?: boolean;
}

export interface Setting {
  readonly io: Io;
  readonly json: boolean;
  readonly options: ConnectionOptions;
  /** @throws {CliError} `notSetUp` when no coordinator is named. */
  readonly connect: () => Promise<Client>;
}

export function settingOf(command: Command, io: Io): Setting {
  const options = command.optsWithGlobals<GlobalOptions>();
  return {
    io,
    json: options.json === true,
    options,
    connect: async () => new Client(await connectionFrom(options, io)),
  };
}

/** One command's registration: a noun's file exports one of these per command or family. */
export type Register = (program: Command, io: Io) => void;

/** Prints what a script reads: one object with its `schema`. */
export function printJson(io: Io, value: unknown): void {
  io.data(JSON.stringify(value));
}
