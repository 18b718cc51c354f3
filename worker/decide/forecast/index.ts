/** What would happen if …, decided by the decisions themselves in virtual time. */
export type { WhatIf } from './assume.ts';
export { beginForecast, type Forecast } from './forecast.ts';
