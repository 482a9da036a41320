// usage: node composition.mjs FILE
// FILE is JSON: { ours: SDL, others: [{ name, sdl, fires }] }. Composes ours with each of the others by Apollo's own
// composition, and fails where it does not agree with what kinora found.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import composition from '@apollo/composition';
import { parse } from 'graphql';

if (!process.argv[2]) {
  console.error('usage: node composition.mjs FILE');
  process.exit(2);
}
const { ours, others } = JSON.parse(readFileSync(process.argv[2], 'utf8'));
const ownSide = { name: 'ours', typeDefs: parse(ours) };
for (const { name, sdl, fires } of others) {
  const composed = composition.composeServices([ownSide, { name: 'other', typeDefs: parse(sdl) }]);
  const codes = (composed.errors ?? []).map((error) => error.extensions.code);
  assert.equal(codes.length > 0, fires, `${name}: kinora ${fires ? 'refuses' : 'takes'} it, composition says ${JSON.stringify(composed.errors?.map(String))}`);
  console.log(`${fires ? codes.join(', ') : 'composes'}: ${name}`);
}
