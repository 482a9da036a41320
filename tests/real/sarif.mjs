// usage: node sarif.mjs FILE
// What `kinora check --format sarif` wrote, checked by the schema of SARIF 2.1.0 that its authors publish with npm
// @microsoft/jest-sarif.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import Ajv from 'ajv';

const file = process.argv[2];
if (!file) {
  console.error('usage: node sarif.mjs FILE');
  process.exit(2);
}

const require = createRequire(import.meta.url);
const schema = require('@microsoft/jest-sarif/lib/schemas/sarif-2.1.0-rtm.5.json');
// The schema is of JSON Schema draft 4, which ajv knows when it is told.
const ajv = new Ajv({ allErrors: true, schemaId: 'auto' });
ajv.addMetaSchema(require('ajv/lib/refs/json-schema-draft-04.json'));
const check = ajv.compile(schema);
const log = JSON.parse(readFileSync(file, 'utf8'));
if (!check(log)) {
  for (const error of check.errors) console.log(`${error.dataPath}: ${error.message}`);
  process.exit(1);
}
console.log(`${log.runs[0].results.length} results are SARIF`);
