// usage: node sarif.mjs FOLDER
// What `kinora check --format sarif` wrote into the files of a folder, checked by the schema of SARIF 2.1.0 that comes with
// npm @microsoft/jest-sarif.
import { readdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import Ajv from 'ajv';

const folder = process.argv[2];
if (!folder) {
  console.error('usage: node sarif.mjs FOLDER');
  process.exit(2);
}

const require = createRequire(import.meta.url);
const schema = require('@microsoft/jest-sarif/lib/schemas/sarif-2.1.0-rtm.5.json');
// The schema is of JSON Schema draft 4, which ajv knows when it is told.
const ajv = new Ajv({ allErrors: true, schemaId: 'auto' });
ajv.addMetaSchema(require('ajv/lib/refs/json-schema-draft-04.json'));
const check = ajv.compile(schema);
let [results, faults] = [0, 0];
for (const name of readdirSync(folder)) {
  const log = JSON.parse(readFileSync(join(folder, name), 'utf8'));
  if (check(log)) {
    results += log.runs[0].results.length;
    continue;
  }
  for (const error of check.errors) console.log(`${name}${error.dataPath}: ${error.message}`);
  faults += check.errors.length;
}
console.log(`${results} results are SARIF, ${faults} faults`);
process.exit(faults || !results ? 1 : 0);
