export { type Registered, Registry } from './object.ts';
