import { equal, notEqual, ok, throws } from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { test } from 'node:test';
import {
  fingerprintIn,
  fingerprintOf,
  isSignedBy,
  newSessionKey,
  publicHalf,
  SEAL_LENGTH,
  Seal,
  sealsOf,
  sharedSecret,
  signText,
} from './session.ts';

function pair(text = 'the same handshake', other = text) {
  const [node, coordinator] = [newSessionKey(), newSessionKey()];
  const ofNode = sealsOf(node.key, coordinator.publicKey, text);
  const ofCoordinator = sealsOf(coordinator.key, node.publicKey, other);
  return { sender: new Seal(ofNode.up), receiver: new Seal(ofCoordinator.up), down: new Seal(ofCoordinator.down) };
}

test('what one side seals the other opens, in order, whatever its text', () => {
  const { sender, receiver } = pair();
  for (const text of ['{"a":1}', '', '1.x.y', 'ü€\u{1F600}', 'x'.repeat(100_000)]) {
    const sealed = sender.seal(text);
    equal(sealed.length, text.length + SEAL_LENGTH);
    equal(receiver.open(sealed), text);
  }
});

const tampered: Record<string, (sealed: readonly string[]) => string | undefined> = {
  'left out': ([, second]) => second,
  'changed by one character': ([first]) => first?.replace('"n":1', '"n":2'),
  'without its last character': ([first]) => first?.slice(0, -1),
  'with the beginning of a MAC': ([first]) => first?.replace(/^(.{20})[^.]*/, '$1'),
  'without a seal': () => '{"n":1}',
  'that is empty': () => '',
};
for (const [what, change] of Object.entries(tampered))
  test(`a message ${what} is not opened`, () => {
    const { sender, receiver } = pair();
    const sealed = [sender.seal('{"n":1}'), sender.seal('{"n":2}')];
    const changed = change(sealed) ?? '';
    notEqual(changed, sealed[0]);
    equal(receiver.open(changed), undefined);
  });

test('a message is opened once, and not by the other direction, nor in another session', () => {
  const { sender, receiver, down } = pair();
  const sealed = sender.seal('x');
  equal(down.open(sealed), undefined);
  equal(pair().receiver.open(sealed), undefined);
  equal(receiver.open(sealed), 'x');
  equal(receiver.open(sealed), undefined);
});

test('who saw another handshake has other keys', () => {
  const { sender, receiver } = pair('mine', 'theirs');
  equal(receiver.open(sender.seal('x')), undefined);
});

test('a direction can be put away and taken up again', () => {
  const { sender, receiver } = pair();
  receiver.open(sender.seal('1'));
  const later = new Seal(receiver.state);
  equal(later.open(sender.seal('2')), '2');
});

test('a point of low order, and what is no key, agree upon nothing', () => {
  const { key } = newSessionKey();
  for (const bytes of [Buffer.alloc(32), Buffer.from([1, ...Buffer.alloc(31)]), Buffer.alloc(31)])
    throws(() => sharedSecret(key, bytes.toString('base64url')));
});

test('a signature is good for its text and its key alone', () => {
  const { privateKey } = generateKeyPairSync('ed25519');
  const own = publicHalf(privateKey);
  const other = publicHalf(generateKeyPairSync('ed25519').privateKey);
  const signature = signText(privateKey, 'text');
  ok(isSignedBy(own, signature, 'text'));
  equal(isSignedBy(own, signature, 'texts'), false);
  equal(isSignedBy(other, signature, 'text'), false);
  for (const bad of ['', 'x', signature.slice(1), `${signature}=`]) equal(isSignedBy(own, bad, 'text'), false);
  for (const bad of ['', own.slice(1), 'A'.repeat(43)]) equal(isSignedBy(bad, signature, 'text'), false);
});

test('a fingerprint names one key, and stands in a join token', () => {
  const [a, b] = [newSessionKey().publicKey, newSessionKey().publicKey];
  notEqual(fingerprintOf(a), fingerprintOf(b));
  const print = fingerprintOf(a);
  equal(fingerprintIn(` hfj1_${print}_0123456789ab_…`), print);
  equal(fingerprintIn(`hfa1_${print}_0123456789ab_…`), undefined);
});
