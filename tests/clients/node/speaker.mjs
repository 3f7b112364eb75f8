// Node's fetch and undici as an application, in a process of its own.
//
//     node speaker.mjs LIBRARY URL
//
// Does what speaker.py does, and prints the same line.

import { createHash } from "node:crypto";
import { Readable } from "node:stream";

const [library, url] = process.argv.slice(2);
const SIZE = 3 << 20;
const DATA = Buffer.alloc(SIZE, Uint8Array.from({ length: 256 }, (_, i) => i));
const DIGEST = createHash("sha256").update(DATA).digest("hex");
const STALE = { authorization: "Bearer stale", "x-twice": "a" };

function expect(condition, what) {
  if (!condition) throw new Error(what);
}

function* pieces() {
  for (let at = 0; at < SIZE; at += 65536) yield DATA.subarray(at, at + 65536);
}

const undici = library === "undici" ? await import("undici") : null;

// Every library's answer as { status, text }.
async function call(method, path, options = {}) {
  if (undici) {
    const answer = await undici.request(url + path, { method, ...options });
    return { status: answer.statusCode, text: await answer.body.text() };
  }
  const streamed = options.body instanceof Readable;
  const body = streamed ? Readable.toWeb(options.body) : options.body;
  const answer = await fetch(url + path, { method, ...options, body, duplex: "half" });
  return { status: answer.status, text: await answer.text() };
}

const listed = await call("GET", "/configuration/cc/1/process?limit=2", { headers: STALE });
expect(listed.status === 200, `list: ${listed.status}`);
const unknown = await call("GET", "/no/such");
expect(unknown.status === 404, `unknown: ${unknown.status}`);
for (const body of [DATA, Readable.from(pieces())]) {
  const method = body === DATA ? "POST" : "PUT";
  const answer = await call(method, "/_sim/echo?a=b", { headers: STALE, body });
  expect(answer.status === 200, `upload: ${answer.status} ${answer.text}`);
  const echo = JSON.parse(answer.text);
  expect(echo.octets === SIZE && echo.sha256 === DIGEST, `upload: ${answer.text}`);
  expect(echo.authorization.length === 1, "one credential");
  expect(!echo.authorization[0].includes("stale"), "the caller's own credential");
}
const pushes = await call("POST", "/ameyorestapi/pushes?interval_ms=20&count=10");
expect(pushes.text.split("seqNo").length === 11, `pushes: ${pushes.text}`);
console.log(JSON.stringify({ calls: 5, did: `${library}: list, 404, 2 uploads, stream` }));
