// Starts GraphiQL on /graphql. Headers can be typed in: x-read-after, x-read-wait.
const root = document.getElementById('graphiql');
const fetcher = GraphiQL.createFetcher({ url: '/graphql' });
ReactDOM.createRoot(root).render(
  React.createElement(GraphiQL, {
    fetcher,
    defaultQuery: root.dataset.query,
    defaultEditorToolsVisibility: 'headers',
    shouldPersistHeaders: false,
    isHeadersEditorEnabled: true,
  }),
);
