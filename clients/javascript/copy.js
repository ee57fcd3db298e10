// Run before packing: copy the client from the one place where it is written, the folder that the
// gateway serves. The copies are not kept under version control.
import { copyFileSync } from 'node:fs';

const from = new URL('../../src/unbroken/gateway/chat/static/', import.meta.url);
for (const name of ['unbroken.js', 'unbroken-reading.js']) {
  copyFileSync(new URL(name, from), new URL(name, import.meta.url));
}
