// usage: node audit.mjs URL
// GraphQL over HTTP: the audit of npm graphql-http, all of its checks. Every one must be ok, notices too.
import { serverAudits } from 'graphql-http';

const CHECKS = 61;
const url = process.argv[2];
if (!url) {
  console.error('usage: node audit.mjs URL');
  process.exit(2);
}

const failed = [];
const audits = serverAudits({ url });
for (const audit of audits) {
  const result = await audit.fn().catch((error) => ({ status: 'error', reason: String(error) }));
  if (result.status !== 'ok') failed.push(`${result.status} ${audit.id} ${audit.name}: ${result.reason}`);
}
if (audits.length !== CHECKS) failed.push(`the audit has ${audits.length} checks, expected ${CHECKS}`);
for (const line of failed) console.log(line);
console.log(`${audits.length - failed.length} of ${audits.length} ok`);
process.exit(failed.length ? 1 : 0);
