// usage: node gateway.mjs SHOP_URL
// Composes the running shop with a small users subgraph, starts Apollo's gateway over both and asks questions that
// cross the border both ways. The shop must hold exactly the orders that tests/real/main.rs publishes:
// o1 and o2 of u1 (o2 newer), o3 of u2, o4 of a user that the users subgraph does not know; p1 is there, p9 is not.
import assert from 'node:assert/strict';
import { createServer } from 'node:net';
import composition from '@apollo/composition';
import { ApolloGateway, RemoteGraphQLDataSource } from '@apollo/gateway';
import { ApolloServer } from '@apollo/server';
import { startStandaloneServer } from '@apollo/server/standalone';
import { buildSubgraphSchema } from '@apollo/subgraph';
import { parse } from 'graphql';

const shopUrl = process.argv[2];
if (!shopUrl) {
  console.error('usage: node gateway.mjs SHOP_URL');
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

const post = async (url, query, variables, headers = {}) => {
  const response = await fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json', accept: 'application/json', ...headers },
    body: JSON.stringify({ query, variables }),
  });
  return response.json();
};

// The users subgraph: names of users, and nothing of their orders.
const names = { u1: 'Ada', u2: 'Grace', u3: 'Edsger' };
const user = (id) => (names[id] ? { id, name: names[id] } : null);
const users = new ApolloServer({
  logger: quiet,
  schema: buildSubgraphSchema({
    typeDefs: parse(`
      extend schema @link(url: "https://specs.apollo.dev/federation/v2.3", import: ["@key"])
      type Query { me: User  users: [User!]! }
      type User @key(fields: "id") { id: ID!  name: String }
    `),
    resolvers: {
      Query: { me: () => user('u1'), users: () => Object.keys(names).map(user) },
      User: { __resolveReference: ({ id }) => user(id) },
    },
  }),
});
const { url: usersUrl } = await startStandaloneServer(users, { listen: { port: await freePort(), host: '127.0.0.1' } });

const sdlOf = async (url) => (await post(url, '{ _service { sdl } }')).data._service.sdl;
const subgraphs = [
  { name: 'shop', url: shopUrl },
  { name: 'users', url: usersUrl },
];
const services = await Promise.all(subgraphs.map(async (s) => ({ ...s, typeDefs: parse(await sdlOf(s.url)) })));
const composed = composition.composeServices(services);
assert.deepEqual((composed.errors ?? []).map(String), [], 'the shop composes with the users subgraph');

for (const told of [
  /ordersToPick\([^)]*\): OrderConnection! .*@cost\(weight: 8\).*@listSize\(assumedSize: 20, slicingArguments: \["first"\]/,
  /lines: \[OrderLine!\]! .*@listSize\(assumedSize: 500/,
]) {
  assert.match(composed.supergraphSdl, told, 'the supergraph has what the shop tells gateways');
}

// Every request to the shop is written down: how many a question costs is part of the promise.
const shopRequests = [];
class Recorded extends RemoteGraphQLDataSource {
  willSendRequest({ request }) {
    if (this.url === shopUrl) shopRequests.push(request.query);
  }
}
const gateway = new ApolloServer({
  logger: quiet,
  gateway: new ApolloGateway({
    logger: quiet,
    supergraphSdl: composed.supergraphSdl,
    buildService: ({ url }) => new Recorded({ url }),
  }),
});
const { url: gatewayUrl } = await startStandaloneServer(gateway, { listen: { port: await freePort(), host: '127.0.0.1' } });

const checks = [];
const check = (name, body) => checks.push({ name, body });
const ask = async (query, variables) => {
  shopRequests.length = 0;
  const answer = await post(gatewayUrl, query, variables);
  assert.equal(answer.errors, undefined, JSON.stringify(answer.errors));
  return answer.data;
};

check('users → orders → product: from the other subgraph into the shop', async () => {
  const data = await ask(`{ me { name orders(first: 10) { nodes { id total { amount currency }
    lines { name quantity product { id sku } } } pageInfo { hasNextPage } } } }`);
  assert.deepEqual(data, {
    me: {
      name: 'Ada',
      orders: {
        nodes: [
          {
            id: 'o2',
            total: { amount: '5.00', currency: 'EUR' },
            lines: [{ name: 'Gone', quantity: 1, product: null }],
          },
          {
            id: 'o1',
            total: { amount: '25.00', currency: 'EUR' },
            lines: [{ name: 'Lamp', quantity: 2, product: { id: 'p1', sku: 's1' } }],
          },
        ],
        pageInfo: { hasNextPage: false },
      },
    },
  });
  assert.equal(shopRequests.length, 1, `one request to the shop, sent ${shopRequests.length}`);
});

check('order → user → name: from the shop into the other subgraph', async () => {
  const data = await ask('{ order(id: "o3") { number user { id name } } }');
  assert.deepEqual(data, { order: { number: 'n3', user: { id: 'u2', name: 'Grace' } } });
});

check('there and back: a user, an order, its user again', async () => {
  const data = await ask('{ me { orders(first: 1) { nodes { id user { name orders(last: 1) { nodes { id } } } } } } }');
  assert.deepEqual(data, {
    me: { orders: { nodes: [{ id: 'o2', user: { name: 'Ada', orders: { nodes: [{ id: 'o1' }] } } }] } },
  });
});

check('a list of users: one batched _entities request, order kept, a user without orders', async () => {
  const data = await ask('{ users { id orders { nodes { id } } } }');
  assert.deepEqual(data, {
    users: [
      { id: 'u1', orders: { nodes: [{ id: 'o2' }, { id: 'o1' }] } },
      { id: 'u2', orders: { nodes: [{ id: 'o3' }] } },
      { id: 'u3', orders: { nodes: [] } },
    ],
  });
  assert.equal(shopRequests.length, 1, `one request to the shop, sent ${shopRequests.length}`);
});

check('a user that the users subgraph does not know: the order stays, the name is null', async () => {
  const answer = await post(gatewayUrl, '{ order(id: "o4") { id status user { id name } } }');
  assert.deepEqual(answer.data, { order: { id: 'o4', status: 'PLACED', user: { id: 'u9', name: null } } });
});

check('what is not there is null, not an error', async () => {
  assert.deepEqual(await ask('{ order(id: "none") { id user { name } } productBySku(sku: "none") { id } }'), {
    order: null,
    productBySku: null,
  });
});

check('_entities at the shop: order and duplicates kept, null for the missing, neighbours unharmed', async () => {
  const answer = await post(
    shopUrl,
    `query ($r: [_Any!]!) { _entities(representations: $r) { __typename
       ... on Order { number } ... on Product { name } ... on User { id } } }`,
    {
      r: [
        { __typename: 'Order', id: 'o1' },
        { __typename: 'Product', id: 'p9' },
        { __typename: 'User', id: 'u9' },
        { __typename: 'Product', sku: 's1' },
        { __typename: 'Order', number: 'n3' },
        { __typename: 'Order', id: 'o1' },
      ],
    },
  );
  assert.equal(answer.errors, undefined, JSON.stringify(answer.errors));
  assert.deepEqual(answer.data._entities, [
    { __typename: 'Order', number: 'n1' },
    null,
    { __typename: 'User', id: 'u9' },
    { __typename: 'Product', name: 'Lamp' },
    { __typename: 'Order', number: 'n3' },
    { __typename: 'Order', number: 'n1' },
  ]);
});

check('_entities at the shop: a bad representation is an error of its own', async () => {
  const answer = await post(shopUrl, 'query ($r: [_Any!]!) { _entities(representations: $r) { ... on Order { id } } }', {
    r: [{ __typename: 'Nope', id: '1' }, { __typename: 'Order', id: 'o1' }, { __typename: 'Order' }],
  });
  assert.deepEqual(answer.data?._entities, [null, { id: 'o1' }, null]);
  assert.deepEqual((answer.errors ?? []).map((error) => error.path), [['_entities', 0], ['_entities', 2]]);
});

check('the SDL is the same on every call', async () => {
  assert.equal(await sdlOf(shopUrl), await sdlOf(shopUrl));
});

let failed = 0;
for (const { name, body } of checks) {
  try {
    await body();
    console.log(`ok      ${name}`);
  } catch (error) {
    failed += 1;
    console.log(`FAILED  ${name}\n        ${String(error.message ?? error).replaceAll('\n', '\n        ')}`);
  }
}
await Promise.all([gateway.stop(), users.stop()]);
console.log(`${checks.length - failed} of ${checks.length} ok`);
process.exit(failed ? 1 : 0);
