export { isListed, registryOf, rememberListed } from './lookup.ts';
export { type Registered, Registry } from './object.ts';
