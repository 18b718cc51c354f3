/** `STATE_DIR/notify.yaml`: whom this node tells by itself what the coordinator does not hear. Written by the node's administrator alone. */
import { join } from 'node:path';
import { parseDocument } from 'yaml';
import * as z from 'zod';
import { PolicyError, readPolicyFile } from './policy-file.ts';

const fileSchema = z.strictObject({
  /** Http as well: it is the administrator of this machine who names it. */
  url: z.url({ protocol: /^https?$/, error: 'an http or https URL' }),
  /** Of Standard Webhooks; left out, nothing is signed. */
  secret: z
    .string()
    .regex(
      /^whsec_[A-Za-z0-9+/]{32,88}={0,2}$/,
      '`whsec_` and 24 to 64 bytes in base64, as `holdfast webhook create` shows one',
    )
    .optional(),
});

export type Notify = z.infer<typeof fileSchema>;

export const notifyPath = (stateDir: string): string => join(stateDir, 'notify.yaml');

/**
 * @returns undefined when there is no such file: then this node tells nobody.
 * @throws {PolicyError} what is wrong with it.
 */
export async function readNotify(stateDir: string): Promise<Notify | undefined> {
  const path = notifyPath(stateDir);
  const text = await readPolicyFile(path);
  if (text === undefined) return undefined;
  const document = parseDocument(text, { uniqueKeys: true, prettyErrors: false });
  const [error] = document.errors;
  if (error !== undefined) throw new PolicyError(path, error.message);
  const parsed = fileSchema.safeParse(document.toJS({ maxAliasCount: 0 }));
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw new PolicyError(path, `${issue?.path.join('.') || 'the file'}: ${issue?.message}`);
}
