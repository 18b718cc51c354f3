/** A client made of nothing but openapi.json: one function for each operation. */
import { type Answer, readAnswer } from './harness.ts';

interface Parameter {
  readonly name: string;
  readonly in: 'path' | 'query' | 'header';
}
export interface Operation {
  readonly operationId: string;
  readonly parameters: readonly Parameter[];
  readonly requestBody?: { readonly content: Readonly<Record<string, { readonly schema: unknown }>> };
  readonly responses: Readonly<Record<string, unknown>>;
}
export interface OpenApi {
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
}

export interface Call {
  /** Of the path, the query and the headers, by name. */
  readonly parameters?: Readonly<Record<string, string>>;
  /** Sent as the content type that the operation takes. */
  readonly body?: unknown;
  readonly token?: string;
}

export interface Found {
  readonly method: string;
  readonly path: string;
  readonly operation: Operation;
}

export function operationsOf({ paths }: OpenApi): Found[] {
  return Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({ method: method.toUpperCase(), path, operation })),
  );
}

export function clientOf(origin: string, document: OpenApi) {
  const byId = new Map(operationsOf(document).map((found) => [found.operation.operationId, found]));
  return async (operationId: string, { parameters = {}, body, token }: Call = {}): Promise<Answer> => {
    const found = byId.get(operationId);
    if (found === undefined) throw new Error(`openapi.json has no operation ${operationId}`);
    const { method, path, operation } = found;
    const value = (name: string) => parameters[name] ?? '';
    const url = new URL(
      path.replaceAll(/\{(\w+)\}/g, (_, name: string) => encodeURIComponent(value(name))),
      origin,
    );
    const headers: Record<string, string> = token === undefined ? {} : { authorization: `Bearer ${token}` };
    for (const parameter of operation.parameters) {
      if (!(parameter.name in parameters)) continue;
      if (parameter.in === 'query') url.searchParams.set(parameter.name, value(parameter.name));
      if (parameter.in === 'header') headers[parameter.name] = value(parameter.name);
    }
    const [type] = Object.keys(operation.requestBody?.content ?? {});
    if (body !== undefined && type !== undefined) headers['content-type'] = type;
    const text = typeof body === 'string' ? body : JSON.stringify(body);
    return await readAnswer(await fetch(url, { method, headers, ...(body === undefined ? {} : { body: text }) }));
  };
}
