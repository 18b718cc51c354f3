import manifest from '../package.json' with { type: 'json' };

/** Of this executable: `--version`, and what the agent reports. */
export const VERSION: string = manifest.version;
