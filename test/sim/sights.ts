/** What is worth counting, and a line of the timeline, among what agents decide: a storm that never reaches it proves nothing about it. */
import type { KeepEffect, KeepState } from '../../node-agent/agent/keep.ts';
import type { Reply } from '../../schemas/wire.ts';
import type { Host } from './host.ts';

export function observeEffect({ world, name }: Host, state: KeepState, effect: KeepEffect): void {
  switch (effect.kind) {
    case 'alone':
      world.count(effect.by.length === 0 ? 'continuation alone' : 'continuation on promises');
      world.continued.set(effect.group, effect.epoch);
      world.note(name, () => `${effect.group} epoch ${effect.epoch} lives on the promises of ${effect.by.join(', ')}`);
      break;
    case 'lost': {
      world.count('lease lost');
      if (state.held[effect.group]?.alone === true) world.count('continuation lost');
      world.note(name, () => `lease of ${effect.group} epoch ${effect.epoch} lost: ${effect.why}`);
      break;
    }
    case 'arm':
      if (state.held[effect.group]?.kept === true) world.count('voters changed');
      world.note(name, () => `arms ${effect.group} epoch ${effect.epoch}, voters ${effect.voters.names.join(' ')}`);
      break;
    case 'persist':
      world.note(name, () => `writes ${JSON.stringify(effect.epochs)}, promises of ${effect.promiseMs} ms`);
      break;
    case 'answer':
      for (const { group, epoch } of effect.refused) {
        world.count('promise refused');
        world.note(name, () => `refuses to promise ${effect.to} to keep out of ${group} epoch ${epoch}`);
      }
      break;
    case 'refused':
      world.note(name, () => `is refused: ${effect.code}`);
      break;
    default:
      break;
  }
}

/** What a grant found here when it was taken up. */
export function observeGrant(host: Host, before: KeepState, after: KeepState, reply: Reply): void {
  const { world, name, clock } = host;
  for (const { group, epoch, released } of reply.grants) {
    const taken = before.held[group] === undefined && after.held[group]?.epoch === epoch;
    world.note(name, () => `hears of its grant of ${group} epoch ${epoch}${taken ? '' : ', and does not take it up'}`);
    if (!taken) continue;
    const promise = before.promises[group];
    const runs = promise !== undefined && clock.bootMs() < promise.untilMs;
    if (runs && released !== null) world.count('move past a promise');
    if (released === null && world.continued.get(group) === epoch - 1) world.count('takeover after a continuation');
  }
}
