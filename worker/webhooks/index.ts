export { Webhooks } from './object.ts';
