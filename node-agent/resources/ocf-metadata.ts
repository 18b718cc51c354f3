/**
 * The meta-data that an OCF agent prints about itself (Open Cluster Framework Resource Agent API 1.1, ra-api-1.1.rng; the DTD
 * of 1.0 has the same elements). Read with a tokenizer of our own: the little of XML that is needed, and nothing that fetches.
 */

export interface OcfParameter {
  readonly name: string;
  /** Must be given: declared as required, and without a default to fall back on. */
  readonly required: boolean;
  readonly type: 'string' | 'integer' | 'boolean' | 'select';
  readonly default: string | undefined;
  /** Of a `select`. */
  readonly options: readonly string[];
}

export interface OcfAction {
  readonly name: string;
  readonly timeoutMs: number | undefined;
  readonly intervalMs: number | undefined;
  readonly depth: number;
  readonly role: string | undefined;
}

export interface OcfMetadata {
  readonly name: string;
  readonly parameters: ReadonlyMap<string, OcfParameter>;
  readonly actions: readonly OcfAction[];
}

/** The largest agent of Debian 12 prints 60 kB. */
export const MAX_METADATA_BYTES = 512 * 1024;

/** @throws with the reason when the text is no meta-data. */
export function parseMetadata(text: string): OcfMetadata {
  if (text.length > MAX_METADATA_BYTES) throw new Error(`more than ${MAX_METADATA_BYTES} bytes of meta-data`);
  let name: string | undefined;
  let closed = false;
  let parameter:
    | { name: string; required: boolean; type: string; default: string | undefined; options: string[] }
    | undefined;
  const parameters = new Map<string, OcfParameter>();
  const actions: OcfAction[] = [];
  const finish = () => {
    if (parameter !== undefined && parameter.name !== '') parameters.set(parameter.name, completeParameter(parameter));
    parameter = undefined;
  };
  for (const tag of tagsOf(text)) {
    if (tag.name === 'resource-agent') {
      if (tag.close) closed = true;
      else name ??= tag.attributes.get('name') ?? '';
    } else if (tag.name === 'parameter') {
      finish();
      if (tag.close) continue;
      const required = ['1', 'true', 'yes'].includes(tag.attributes.get('required') ?? '');
      parameter = { name: tag.attributes.get('name') ?? '', required, type: 'string', default: undefined, options: [] };
      if (tag.selfClosing) finish();
    } else if (tag.name === 'content' && !tag.close && parameter !== undefined) {
      parameter.type = tag.attributes.get('type') ?? 'string';
      parameter.default = tag.attributes.get('default');
    } else if (tag.name === 'option' && !tag.close && parameter !== undefined) {
      const value = tag.attributes.get('value');
      if (value !== undefined) parameter.options.push(value);
    } else if (tag.name === 'action' && !tag.close) {
      actions.push(toAction(tag.attributes));
    }
  }
  if (name === undefined) throw new Error('no <resource-agent> element');
  if (!closed) throw new Error('it ends before </resource-agent>');
  return { name, parameters, actions };
}

/** A type that the agent's own default contradicts is not believed (`integer` with a default of `.%F` exists). */
function completeParameter(raw: {
  name: string;
  required: boolean;
  type: string;
  default: string | undefined;
  options: string[];
}): OcfParameter {
  const declared = raw.type === 'integer' || raw.type === 'boolean' || raw.type === 'select' ? raw.type : 'string';
  const hasDefault = raw.default !== undefined && raw.default !== '';
  const parameter = { ...raw, type: declared, required: raw.required && !hasDefault } as const;
  const contradicted = hasDefault && valueProblem(parameter, raw.default ?? '') !== undefined;
  return contradicted ? { ...parameter, type: 'string' } : parameter;
}

/** @returns what is wrong with a value for this parameter by its declared type. */
export function valueProblem(parameter: OcfParameter, value: string): string | undefined {
  switch (parameter.type) {
    case 'integer':
      return /^[+-]?\d+$/.test(value) ? undefined : 'must be a whole number';
    case 'boolean':
      // The words that ocf_is_true and its opposite know, in any case.
      return /^(?:yes|no|true|false|on|off|1|0|y|n)$/i.test(value) ? undefined : 'must be true or false';
    case 'select':
      return parameter.options.length === 0 || parameter.options.includes(value)
        ? undefined
        : `must be one of ${parameter.options.join(', ')}`;
    case 'string':
      return undefined;
  }
}

function toAction(attributes: ReadonlyMap<string, string>): OcfAction {
  const depth = Number(attributes.get('depth') ?? '0');
  return {
    name: attributes.get('name') ?? '',
    timeoutMs: parseOcfTime(attributes.get('timeout')),
    intervalMs: parseOcfTime(attributes.get('interval')),
    depth: Number.isInteger(depth) && depth >= 0 ? depth : 0,
    role: attributes.get('role'),
  };
}

/** @returns the action that a plain (not promotable) resource uses: level 0, for no special role if there is one. */
export function findAction(metadata: OcfMetadata, name: string): OcfAction | undefined {
  const fits = metadata.actions.filter((action) => action.name === name && action.depth === 0);
  const ofRole = (...roles: (string | undefined)[]) => fits.find((action) => roles.includes(action.role));
  return ofRole(undefined, '', 'Started') ?? ofRole('Unpromoted', 'Slave') ?? fits[0];
}

/** Times as Pacemaker reads them: `20s`, `2min`, `500ms`; a bare number is seconds. */
export function parseOcfTime(text: string | undefined): number | undefined {
  const match = /^\s*(\d{1,9}(?:\.\d{1,3})?)\s*([a-z]*)\s*$/i.exec(text ?? '');
  if (match === null) return undefined;
  const factors: Readonly<Record<string, number>> = {
    '': 1_000,
    ms: 1,
    msec: 1,
    us: 0.001,
    usec: 0.001,
    s: 1_000,
    sec: 1_000,
    m: 60_000,
    min: 60_000,
    h: 3_600_000,
    hr: 3_600_000,
  };
  const factor = factors[(match[2] ?? '').toLowerCase()];
  return factor === undefined ? undefined : Math.ceil(Number(match[1]) * factor);
}

interface Tag {
  readonly name: string;
  readonly close: boolean;
  readonly selfClosing: boolean;
  readonly attributes: ReadonlyMap<string, string>;
}

/** Descriptions are prose and often no XML (`<host>`, a lone `&`): they are skipped as a whole. */
const PROSE = new Set(['longdesc', 'shortdesc', 'desc']);
const TAG = /<(\/?)([A-Za-z_][\w.:-]*)((?:\s+[\w.:-]+\s*=\s*(?:"[^"]*"|'[^']*'))*)\s*(\/?)>/y;
const ATTRIBUTE = /([\w.:-]+)\s*=\s*(?:"([^"]*)"|'([^']*)')/g;

function* tagsOf(text: string): Generator<Tag> {
  let at = 0;
  for (;;) {
    at = text.indexOf('<', at);
    if (at === -1) return;
    if (text.startsWith('<!--', at)) at = pastText(text, '-->', at + 4, 'a comment');
    else if (text.startsWith('<![CDATA[', at)) at = pastText(text, ']]>', at + 9, 'a CDATA section');
    else if (text.startsWith('<?', at)) at = pastText(text, '?>', at + 2, 'a processing instruction');
    else if (text.startsWith('<!', at)) at = pastDeclaration(text, at);
    else {
      TAG.lastIndex = at;
      const match = TAG.exec(text);
      if (match?.[2] === undefined) throw new Error(`no valid XML at "${text.slice(at, at + 40).split('\n', 1)[0]}"`);
      at = TAG.lastIndex;
      const tag = {
        name: match[2],
        close: match[1] === '/',
        selfClosing: match[4] === '/',
        attributes: attributesOf(match[3] ?? ''),
      };
      yield tag;
      if (PROSE.has(tag.name) && !tag.close && !tag.selfClosing) at = pastProse(text, at, tag.name);
    }
  }
}

function pastText(text: string, end: string, from: number, what: string): number {
  const found = text.indexOf(end, from);
  if (found === -1) throw new Error(`${what} does not end`);
  return found + end.length;
}

/** The end tag of a description, not one that a CDATA section or a comment in it talks about. */
function pastProse(text: string, from: number, name: string): number {
  const marks = new RegExp(`</${name}\\s*>|<!\\[CDATA\\[|<!--`, 'g');
  marks.lastIndex = from;
  for (let mark = marks.exec(text); mark !== null; mark = marks.exec(text)) {
    if (mark[0].startsWith('</')) return marks.lastIndex;
    marks.lastIndex = pastText(
      text,
      mark[0] === '<!--' ? '-->' : ']]>',
      marks.lastIndex,
      `what begins with ${mark[0]}`,
    );
  }
  throw new Error(`<${name}> does not end`);
}

/** A DOCTYPE, with the internal subset it may have; nothing in it is used. */
function pastDeclaration(text: string, from: number): number {
  let inside = false;
  for (let at = from; at < text.length; at += 1) {
    const character = text[at];
    if (character === '"' || character === "'") {
      const end = text.indexOf(character, at + 1);
      if (end === -1) break;
      at = end;
    } else if (character === '[') inside = true;
    else if (character === ']') inside = false;
    else if (character === '>' && !inside) return at + 1;
  }
  throw new Error('a declaration does not end');
}

function attributesOf(text: string): ReadonlyMap<string, string> {
  const attributes = new Map<string, string>();
  for (const match of text.matchAll(ATTRIBUTE))
    if (match[1] !== undefined) attributes.set(match[1], decodeEntities(match[2] ?? match[3] ?? ''));
  return attributes;
}

const ENTITIES: Readonly<Record<string, string>> = { lt: '<', gt: '>', amp: '&', quot: '"', apos: "'" };

/** The five entities of XML and character references. Others stay as they are: no DTD is read. */
export function decodeEntities(text: string): string {
  return text.replace(
    /&(?:#(\d{1,7})|#x([0-9a-fA-F]{1,6})|(\w+));/g,
    (whole, decimal?: string, hex?: string, word?: string) => {
      if (word !== undefined) return ENTITIES[word] ?? whole;
      const code = decimal !== undefined ? Number(decimal) : Number.parseInt(hex ?? '', 16);
      return code <= 0x10ffff ? String.fromCodePoint(code) : whole;
    },
  );
}
