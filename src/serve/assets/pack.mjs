// Takes the few files that the page needs out of npm's packages, and compresses them. usage: node pack.mjs DIR
// Each package must be, byte for byte, the one whose SHA-512 stands here.
import { createHash } from 'node:crypto';
import { readFileSync, writeFileSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync, gzipSync } from 'node:zlib';

const dir = process.argv[2];
const packages = [
  {
    file: 'graphiql-3.9.0.tgz',
    sha512: 'rJYFlHdBbug9+YbFSwRVvgfPjCayC7wHecZkx/qB4XLuQPFQZw/yB9pmHFtOJV6RiNBBHro3u1GdocKa3YcGRA==',
    take: { 'package/graphiql.min.js': 'graphiql-3.9.0.js', 'package/graphiql.min.css': 'graphiql-3.9.0.css' },
  },
  {
    file: 'react-18.3.1.tgz',
    sha512: 'wS+hAgJShR0KhEvPJArfuPVN1+Hz1t0Y6n5jLrGQbkb4urgPE/0Rve+1kMB1v/oWgHgm4WIcV+i7F2pTVj+2iQ==',
    take: { 'package/umd/react.production.min.js': 'react-18.3.1.js' },
  },
  {
    file: 'react-dom-18.3.1.tgz',
    sha512: '5m4nQKp+rZRb09LNH59GM4BxTh9251/ylbKIbpe7TpGxfJ+9kv6BLkLBXIjjspbgbnIBNqlI23tRnTWT0snUIw==',
    take: { 'package/umd/react-dom.production.min.js': 'react-dom-18.3.1.js' },
  },
];

// A tar archive is blocks of 512 bytes: a header with name and octal length, then the bytes, filled up.
function members(tar) {
  const found = new Map();
  for (let at = 0; at + 512 <= tar.length && tar[at] !== 0; ) {
    const name = tar.toString('utf8', at, at + 100).replace(/\0.*$/s, '');
    const length = parseInt(tar.toString('latin1', at + 124, at + 136), 8) || 0;
    found.set(name, tar.subarray(at + 512, at + 512 + length));
    at += 512 + Math.ceil(length / 512) * 512;
  }
  return found;
}

function write(name, bytes) {
  const path = join(dir, name + '.gz');
  writeFileSync(path + '.new', gzipSync(bytes, { level: 9 }));
  renameSync(path + '.new', path);
}

let licenses = '';
for (const { file, sha512, take } of packages) {
  const packed = readFileSync(join(dir, file));
  const found = createHash('sha512').update(packed).digest('base64');
  if (found !== sha512) throw new Error(file + ' has SHA-512 ' + found + ', but ' + sha512 + ' is pinned');
  const files = members(gunzipSync(packed));
  for (const [from, to] of Object.entries(take)) {
    if (!files.has(from)) throw new Error(file + ' has no ' + from);
    write(to, files.get(from));
  }
  licenses += file.replace('.tgz', '') + '\n\n' + files.get('package/LICENSE') + '\n\n';
}
write('LICENSES.txt', Buffer.from(licenses));
