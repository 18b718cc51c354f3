/** Names of systemd units as a document may write them. Source: systemd.unit(5), "Description". */

export type UnitVerdict =
  | { readonly ok: true; readonly unit: string }
  | { readonly ok: false; readonly detail: string; readonly suggestion?: string };

/** UNIT_NAME_MAX of systemd, without its NUL. */
const MAX_UNIT_LENGTH = 255;
const OTHER_TYPES = /\.(socket|device|mount|automount|swap|target|path|timer|slice|scope|snapshot)$/;
const SERVICE = /^[A-Za-z0-9_][A-Za-z0-9:_.\\-]*(?:@[A-Za-z0-9:_.\\-]+)?\.service$/;

/** @returns the full name (`mariadb` is `mariadb.service`, `app@1` is `app@1.service`), or why it is not that of a service. */
export function readUnitName(text: string): UnitVerdict {
  const other = OTHER_TYPES.exec(text);
  if (other !== null)
    return {
      ok: false,
      detail: `“${text}” is a ${other[1]}; only service units can be run, for example mariadb.service`,
    };
  const unit = text.endsWith('.service') ? text : `${text}.service`;
  if (text.includes('/')) {
    const base = unit.slice(unit.lastIndexOf('/') + 1);
    return {
      ok: false,
      detail: `“${text}” is a path; write the name of the unit`,
      ...(SERVICE.test(base) ? { suggestion: base } : {}),
    };
  }
  if (unit.endsWith('@.service'))
    return {
      ok: false,
      detail: `“${text}” is a template; name one instance of it, for example ${unit.slice(0, -8)}1.service`,
    };
  if (!SERVICE.test(unit) || unit.length > MAX_UNIT_LENGTH)
    return {
      ok: false,
      detail: `“${text}” is not the name of a service unit: letters, digits and : _ . \\ - with at most one @, beginning with a letter, a digit or _`,
    };
  return { ok: true, unit };
}
