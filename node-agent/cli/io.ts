/** Where the command line reads and writes, passed in so that tests see exactly what an operator sees. */
import { createInterface } from 'node:readline/promises';
import { styleText } from 'node:util';

export type Style = 'bold' | 'dim' | 'red' | 'green' | 'yellow';

export interface Io {
  /** Data: standard output, a line break is added. */
  readonly data: (text: string) => void;
  /** Everything that is not data: standard error, a line break is added. */
  readonly note: (text: string) => void;
  /** Text to standard output exactly as given: redrawing. */
  readonly raw: (text: string) => void;
  /** Colours a word on a terminal that wants colours. Never the only carrier of a meaning. */
  readonly paint: (style: Style, text: string) => string;
  readonly outIsTerminal: boolean;
  readonly mayAsk: boolean;
  readonly rows: () => number;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly readStdin: () => Promise<string>;
  readonly ask: (question: string) => Promise<string>;
  /** Milliseconds of the wall clock. */
  readonly now: () => number;
  /** How the command ends when nothing fails: 0 unless a command has more to say by its exit code. */
  readonly exit: { code: number };
  /** Aborted when the operator interrupts. */
  readonly interrupted: AbortSignal;
}

/** The process's own streams. */
export function processIo(): Io {
  const { stdin, stdout, stderr, env } = process;
  const wantsColour = stdout.isTTY && (env.NO_COLOR ?? '') === '' && env.TERM !== 'dumb';
  let interrupted: AbortSignal | undefined;
  return {
    data: (text) => void stdout.write(`${text}\n`),
    note: (text) => void stderr.write(`${text}\n`),
    raw: (text) => void stdout.write(text),
    paint: (style, text) => (wantsColour ? styleText(style, text, { validateStream: false }) : text),
    outIsTerminal: stdout.isTTY === true,
    mayAsk: stdin.isTTY === true && stderr.isTTY === true,
    rows: () => stdout.rows ?? 24,
    env,
    readStdin,
    async ask(question) {
      const lines = createInterface({ input: stdin, output: stderr });
      try {
        return await lines.question(question);
      } finally {
        lines.close();
      }
    },
    now: Date.now,
    exit: { code: 0 },
    // Only commands that run on until interrupted ask for it; the others end at SIGINT by themselves.
    get interrupted() {
      interrupted ??= abortOnInterrupt();
      return interrupted;
    },
  };
}

async function readStdin(): Promise<string> {
  let text = '';
  process.stdin.setEncoding('utf8');
  for await (const chunk of process.stdin) text += String(chunk);
  return text;
}

function abortOnInterrupt(): AbortSignal {
  const controller = new AbortController();
  const abort = () => controller.abort();
  process.once('SIGINT', abort);
  process.once('SIGTERM', abort);
  return controller.signal;
}
