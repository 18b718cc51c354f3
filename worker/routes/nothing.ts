import * as z from 'zod';

/** The body of an action that takes none: absent, or an empty JSON object. */
export const nothing = z.strictObject({});
