/**
 * Which coordinator, which cluster, which token: from the command line, else the environment, else the saved context. A token
 * itself is never an argument (it would show in the process list) and never saved, only the file that holds it.
 */
import { chmod, mkdir, readFile, rename, stat, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import * as z from 'zod';
import { errnoOf, parseJson, textOf } from '../system/index.ts';
import { CliError, EXIT, whyUnreadable } from './exit.ts';
import type { Io } from './io.ts';

export interface ConnectionOptions {
  readonly url?: string;
  readonly cluster?: string;
  readonly tokenFile?: string;
}

/** What finding a connection needs of the terminal. */
export type ConnectionIo = Pick<Io, 'env' | 'note' | 'readStdin'>;

export interface Connection {
  readonly url: URL;
  readonly cluster: string | undefined;
  readonly token: string | undefined;
}

const savedSchema = z.strictObject({
  url: z.string().optional(),
  cluster: z.string().optional(),
  tokenFile: z.string().optional(),
});
export type SavedContext = z.infer<typeof savedSchema>;

export function contextPath(env: Io['env']): string {
  const home = env.XDG_CONFIG_HOME || join(env.HOME || homedir(), '.config');
  return join(home, 'holdfast', 'context.json');
}

/** @returns the saved context; an empty one if nothing was saved. */
export async function readContext(env: Io['env']): Promise<SavedContext> {
  const path = contextPath(env);
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    if (codeOf(error) === 'ENOENT' || codeOf(error) === 'ENOTDIR') return {};
    throw new CliError(EXIT.notSetUp, `cannot read ${path}: ${whyUnreadable(error)}`);
  }
  const parsed = savedSchema.safeParse(parseJson(text));
  if (parsed.success) return parsed.data;
  throw new CliError(EXIT.notSetUp, `${path} is not a saved context`, {
    next: '`holdfast context set` writes it anew after you have removed it',
  });
}

/** What was said on the command line, as it is saved. */
export function contextOf({ url, cluster, tokenFile }: ConnectionOptions): SavedContext {
  return {
    ...(url === undefined ? {} : { url: coordinatorUrl(url).href }),
    ...(cluster === undefined ? {} : { cluster }),
    ...(tokenFile === undefined ? {} : { tokenFile: resolve(tokenFile) }),
  };
}

export async function saveContext(env: Io['env'], context: SavedContext): Promise<string> {
  const path = contextPath(env);
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  await writeFile(`${path}.new`, `${JSON.stringify(context, null, 2)}\n`, { mode: 0o600 });
  await chmod(`${path}.new`, 0o600);
  await rename(`${path}.new`, path);
  return path;
}

/** @throws {CliError} `notSetUp` when it is nowhere said where the coordinator is. */
export async function connectionFrom(options: ConnectionOptions, io: ConnectionIo): Promise<Connection> {
  const saved = await readContext(io.env);
  const urlText = options.url ?? given(io.env.HOLDFAST_URL) ?? saved.url;
  if (urlText === undefined)
    throw new CliError(EXIT.notSetUp, 'no coordinator is named', {
      next: 'give --url, set HOLDFAST_URL, or save it: holdfast context set --url https://… --cluster NAME --token-file FILE',
    });
  const cluster = options.cluster ?? given(io.env.HOLDFAST_CLUSTER) ?? saved.cluster;
  return { url: coordinatorUrl(urlText), cluster, token: await tokenFrom(options, saved, io) };
}

/** @returns the base of the API, ending in a slash. */
export function coordinatorUrl(text: string): URL {
  let url: URL;
  try {
    url = new URL(/^[a-z]+:\/\//i.test(text) ? text : `http://${text}`);
  } catch {
    throw new CliError(EXIT.usage, `“${text}” is not a URL`, { next: 'write it as https://coordinator.example.org' });
  }
  if (url.protocol !== 'http:' && url.protocol !== 'https:')
    throw new CliError(EXIT.usage, `the coordinator speaks http or https, not ${url.protocol}//`);
  if (url.username !== '' || url.password !== '')
    throw new CliError(EXIT.usage, 'a URL with a password in it would show in the process list', {
      next: 'put the token into a file and give --token-file',
    });
  url.hash = '';
  url.search = '';
  if (!url.pathname.endsWith('/')) url.pathname += '/';
  return url;
}

async function tokenFrom(
  options: ConnectionOptions,
  saved: SavedContext,
  io: ConnectionIo,
): Promise<string | undefined> {
  if (options.tokenFile !== undefined) return readToken(options.tokenFile, io);
  const token = given(io.env.HOLDFAST_TOKEN);
  if (token !== undefined) return token;
  const file = given(io.env.HOLDFAST_TOKEN_FILE) ?? saved.tokenFile;
  return file === undefined ? undefined : readToken(file, io);
}

/** Reads a token from a file, or from standard input for `-`. Says so when others can read the file. */
export async function readToken(file: string, io: ConnectionIo): Promise<string> {
  if (file === '-') return checkedToken(await io.readStdin(), 'standard input');
  const path = resolve(file);
  try {
    const text = await readFile(path, 'utf8');
    const { mode } = await stat(path);
    if ((mode & 0o077) !== 0 && (mode & 0o170000) === 0o100000)
      io.note(`warning: ${path} can be read by others; chmod 600 ${path}`);
    return checkedToken(text, path);
  } catch (error) {
    if (error instanceof CliError) throw error;
    throw new CliError(EXIT.notSetUp, `cannot read the token file ${path}: ${whyUnreadable(error)}`, {
      next: 'name a file that holds the token alone: --token-file FILE',
    });
  }
}

function checkedToken(text: string, where: string): string {
  const token = text.trim();
  if (token === '') throw new CliError(EXIT.notSetUp, `${where} holds no token`);
  if (!/^[\x21-\x7e]+$/.test(token)) throw new CliError(EXIT.notSetUp, `${where} holds more than one token`);
  return token;
}

const given = (value: string | undefined) => (value === undefined || value === '' ? undefined : value);

function codeOf(error: unknown): string {
  return errnoOf(error) ?? textOf(error);
}
