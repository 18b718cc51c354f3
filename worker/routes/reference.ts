/** A page that shows what the API knows, made of openapi.json: no script, nothing from elsewhere. */
import { html, raw } from 'hono/html';
import openapi from '../openapi.json';

interface Parameter {
  readonly name: string;
  readonly in: string;
  readonly required: boolean;
  readonly description?: string;
}

interface OperationObject {
  readonly operationId: string;
  readonly summary: string;
  readonly description?: string;
  readonly parameters: readonly Parameter[];
  readonly requestBody?: { readonly required: boolean; readonly content: Readonly<Record<string, unknown>> };
  readonly responses: Readonly<Record<string, { readonly description: string; readonly content?: unknown }>>;
}

const { info, paths, components } = openapi;
const operations = Object.entries(paths as Readonly<Record<string, Readonly<Record<string, OperationObject>>>>).flatMap(
  ([path, byMethod]) =>
    Object.entries(byMethod).map(([method, operation]) => ({ path, method: method.toUpperCase(), ...operation })),
);

const STYLE = `
:root { color-scheme: light dark; }
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 60rem; margin: 0 auto; padding: 1rem; }
code, pre { font-family: ui-monospace, monospace; font-size: .9em; }
pre { overflow-x: auto; padding: .5rem; border: 1px solid #8886; }
h2 { margin-top: 2.5rem; border-top: 1px solid #8886; padding-top: 1rem; }
table { border-collapse: collapse; } td, th { text-align: left; vertical-align: top; padding: .2rem 1rem .2rem 0; }
`;
/** Nothing but its own style. */
export const REFERENCE_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";

/** As much of a schema as there is; what stands in several answers is linked. */
function schemaText(schema: unknown) {
  const escaped = JSON.stringify(schema, null, 2).replaceAll('&', '&amp;').replaceAll('<', '&lt;');
  return raw(
    escaped.replace(/"#\/components\/schemas\/(\w+)"/g, (_, name: string) => `"<a href="#schema-${name}">${name}</a>"`),
  );
}

function contentOf(content: unknown) {
  return Object.entries((content ?? {}) as Readonly<Record<string, { schema?: unknown }>>).map(
    ([type, { schema }]) => html`<p><code>${type}</code></p><pre>${schemaText(schema ?? {})}</pre>`,
  );
}

function operationText({ path, method, ...operation }: (typeof operations)[number]) {
  const { operationId, summary, description, parameters, requestBody, responses } = operation;
  return html`<section id="${operationId}">
<h2><code>${method} ${path}</code></h2>
<p>${summary}. ${description ?? 'No token is needed.'}</p>
${
  parameters.length === 0
    ? ''
    : html`<table><caption>Parameters</caption>${parameters.map(
        ({ name, in: where, required, description: means = '' }) =>
          html`<tr><th scope="row"><code>${name}</code></th><td>${where}${required ? '' : ', optional'}</td><td>${means}</td></tr>`,
      )}</table>`
}
${
  requestBody === undefined
    ? ''
    : html`<h3>Body${requestBody.required ? '' : ' (optional)'}</h3>${contentOf(requestBody.content)}`
}
<h3>Answers</h3>
<table>${Object.entries(responses).map(
    ([status, { description: means }]) => html`<tr><th scope="row">${status}</th><td>${means}</td></tr>`,
  )}</table>
${Object.entries(responses)
  .filter(([status]) => status.startsWith('2'))
  .map(([, { content }]) => contentOf(content))}
</section>`;
}

/** @returns the whole page. */
export function referencePage() {
  return html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>${info.title} ${info.version}: HTTP API</title>
<style>${raw(STYLE)}</style>
</head>
<body>
<h1>${info.title} ${info.version}: HTTP API</h1>
<p>${info.summary}. For machines: <a href="/openapi.json">openapi.json</a>. Every error is a problem document (RFC 9457), <a href="#schema-Problem">Problem</a>; its <code>code</code> stands beside each status below.</p>
<nav><ul>${operations.map(
    ({ operationId, method, path, summary }) =>
      html`<li><a href="#${operationId}"><code>${method} ${path}</code></a> ${summary}</li>`,
  )}</ul></nav>
${operations.map(operationText)}
<h2>Schemas</h2>
${Object.entries(components.schemas).map(
  ([name, schema]) => html`<section id="schema-${name}"><h3>${name}</h3><pre>${schemaText(schema)}</pre></section>`,
)}
</body>
</html>
`;
}
