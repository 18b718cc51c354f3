/** In which function a text stands. Told by the layout that the formatters keep: no parser is needed for that. */
import { basename } from 'node:path';

/** Begins something at the margin of a TypeScript module: a function, a constant, a class. */
const AT_MARGIN = /^(?:export )?(?:default )?(?:async )?(?:abstract )?(function\*?|const|class|interface|enum) (\w+)/;
/** Begins a method. */
const METHOD = /^ {2}(?:static |async |override |get )*(#?\w+)\(.*/;
const NO_METHOD = new Set(['if', 'for', 'while', 'switch', 'return', 'catch', 'constructor']);
/** Begins a function of C. */
const C_FUNCTION = /^(?:[a-zA-Z_]\w*[ *]+)+(\w+)\([^;]*$|^(?:[a-zA-Z_]\w*[ *]+)+(\w+)\(.*\{/;

/** @returns the name of the function around the position; the file's own name where there is none. */
export function functionAt(source: string, position: number, file: string): string {
  const end = source.indexOf('\n', position);
  const lines = source
    .slice(0, end < 0 ? source.length : end)
    .split('\n')
    .toReversed();
  return (file.endsWith('.c') ? inC(lines) : inTypeScript(lines)) ?? basename(file);
}

function inC(upwards: readonly string[]): string | undefined {
  for (const line of upwards) {
    const found = C_FUNCTION.exec(line);
    if (found !== null) return found[1] ?? found[2];
  }
  return undefined;
}

function inTypeScript(upwards: readonly string[]): string | undefined {
  const outer = upwards.map((line) => AT_MARGIN.exec(line)).find((found) => found !== null);
  if (outer?.[1] !== 'class') return outer?.[2];
  for (const line of upwards) {
    const name = METHOD.exec(line)?.[1];
    if (name !== undefined && !NO_METHOD.has(name)) return name;
  }
  return outer[2];
}
