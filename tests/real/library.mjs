// usage: node library.mjs LIBRARY_URL
// Composes a running library with a small subgraph of readers, which knows its media by their interface alone, starts
// Apollo's gateway over both and asks which type each is. The library must hold what tests/real/library.rs publishes: the
// book b1 and the film f1, lent to reader r1 and to the shop s1; nobody has m9.
import assert from 'node:assert/strict';
import { createServer } from 'node:net';
import composition from '@apollo/composition';
import { ApolloGateway } from '@apollo/gateway';
import { ApolloServer } from '@apollo/server';
import { startStandaloneServer } from '@apollo/server/standalone';
import { buildSubgraphSchema } from '@apollo/subgraph';
import { parse } from 'graphql';

const libraryUrl = process.argv[2];
if (!libraryUrl) {
  console.error('usage: node library.mjs LIBRARY_URL');
  process.exit(2);
}

const quiet = { debug() {}, info() {}, warn() {}, error: console.error };

const freePort = () =>
  new Promise((resolve, reject) => {
    const probe = createServer();
    probe.once('error', reject);
    probe.listen(0, '127.0.0.1', () => {
      const { port } = probe.address();
      probe.close(() => resolve(port));
    });
  });
const listen = async () => ({ listen: { port: await freePort(), host: '127.0.0.1' } });

const post = async (url, query) => {
  const response = await fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json', accept: 'application/json' },
    body: JSON.stringify({ query }),
  });
  return response.json();
};

const reviews = { b1: ['dull'], f1: ['loud', 'long'] };
const readers = new ApolloServer({
  logger: quiet,
  schema: buildSubgraphSchema({
    typeDefs: parse(`
      extend schema @link(url: "https://specs.apollo.dev/federation/v2.3", import: ["@key", "@interfaceObject"])
      type Query { reviewed: [Media]! }
      type Media @interfaceObject @key(fields: "id") { id: ID!  reviews: [String!]! }
      type Reader @key(fields: "id") { id: ID!  name: String }
    `),
    resolvers: {
      Query: { reviewed: () => ['f1', 'b1', 'm9'].map((id) => ({ id })) },
      Media: { __resolveReference: ({ id }) => ({ id }), reviews: ({ id }) => reviews[id] ?? [] },
      Reader: { __resolveReference: ({ id }) => ({ id, name: id === 'r1' ? 'Ada' : null }) },
    },
  }),
});
const { url: readersUrl } = await startStandaloneServer(readers, await listen());

const sdlOf = async (url) => (await post(url, '{ _service { sdl } }')).data._service.sdl;
const subgraphs = [
  { name: 'library', url: libraryUrl },
  { name: 'readers', url: readersUrl },
];
const services = await Promise.all(subgraphs.map(async (s) => ({ ...s, typeDefs: parse(await sdlOf(s.url)) })));
const composed = composition.composeServices(services);
assert.deepEqual((composed.errors ?? []).map(String), [], 'the library composes with the readers');

const gateway = new ApolloServer({
  logger: quiet,
  gateway: new ApolloGateway({ logger: quiet, supergraphSdl: composed.supergraphSdl }),
});
const { url } = await startStandaloneServer(gateway, await listen());

const checks = [
  [
    'media known by their interface are of the type that has a row',
    '{ reviewed { __typename id title reviews ... on Film { minutes } } }',
    (data) =>
      assert.deepEqual(data.reviewed, [
        { __typename: 'Film', id: 'f1', title: 'A film', reviews: ['loud', 'long'], minutes: 90 },
        { __typename: 'Book', id: 'b1', title: 'A book', reviews: ['dull'] },
        null,
      ]),
  ],
  [
    'what the interface has elsewhere is there on each type, and so are one of several and lists',
    `{ a: lent(reader: "r1") { media { title reviews } to { ... on Reader { name } } together { id } }
       b: lent(reader: "s1") { media { __typename } to { ... on Shop { city } } together { id } } }`,
    (data) =>
      assert.deepEqual(data, {
        a: { media: { title: 'A book', reviews: ['dull'] }, to: { name: 'Ada' }, together: [{ id: 's1' }] },
        b: { media: { __typename: 'Film' }, to: { city: 'Bern' }, together: [] },
      }),
  ],
];

let failed = 0;
for (const [name, query, check] of checks) {
  try {
    const answer = await post(url, query);
    assert.equal(answer.data === null ? JSON.stringify(answer.errors) : null, null);
    check(answer.data);
    console.log(`ok   ${name}`);
  } catch (fault) {
    failed += 1;
    console.log(`FAIL ${name}\n${fault.stack}`);
  }
}
await Promise.all([gateway.stop(), readers.stop()]);
process.exit(failed === 0 ? 0 : 1);
