// A Node client as an application that knows nothing of headset. Argument: which. Prints one
// line of JSON.
import https from "node:https";
import { createRequire, registerHooks } from "node:module";

const ECHO = "https://api.exotel.com/_sim/echo";
const { TRUSTED, UNKNOWN } = process.env;
const headers = { authorization: "Basic ZHVtbXk6ZHVtbXk=" };

// By which version headset got the call: it says so to the upstream (`Via`), which repeats it.
const versionOf = (echo) => `HTTP/${echo.headers.find(([name]) => name.toLowerCase() === "via")[1].split(" ")[0]}`;

function judge(echo, wanted, other, refused) {
  const version = versionOf(echo);
  if (!version.startsWith(`HTTP/${wanted}`)) throw new Error(`${version} was spoken`);
  const shown = echo.authorization;
  if (shown.length !== 1 || shown[0] === headers.authorization) throw new Error(`${shown.length} credentials arrived`);
  if (other !== 200) throw new Error(`another site answered ${other}`);
  if (!/CERT|SIGNATURE|SELF_SIGNED/.test(refused)) throw new Error(`an unknown certificate: ${refused}`);
  return `${version}: one credential; another site: its own certificate, no credential`;
}
// The code by which Node says why it does not believe a certificate.
async function refused(call) {
  try {
    await call();
    return "believed";
  } catch (error) {
    for (let cause = error; cause; cause = cause.cause) if (/CERT|SIGNATURE/.test(cause.code ?? "")) return cause.code;
    return String(error);
  }
}

const get = (url) => new Promise((resolve, reject) => {
  https.get(url, { headers }, (answer) => {
    let text = "";
    answer.on("data", (part) => (text += part));
    answer.on("end", () => resolve({ status: answer.statusCode, text }));
  }).on("error", reject);
});

async function undici(allowH2) {
  const { EnvHttpProxyAgent, request } = await import("undici");
  const dispatcher = new EnvHttpProxyAgent({ allowH2, requestTls: { allowH2 } });
  // It writes the host into the very object that it is given.
  const call = (url) => request(url, { headers: { ...headers }, dispatcher });
  const echo = await call(ECHO);
  const body = await echo.body.json();
  const other = await call(TRUSTED);
  await other.body.text();
  const why = await refused(() => call(UNKNOWN));
  return judge(body, allowH2 ? 2 : 1, other.statusCode, why);
}

// The vendor's web SDK as it is on npm, whose host is a constant: what it asks for by REST. The SIP half of it
// needs a browser's microphone and a bundler, so that one library is left out.
async function websdk() {
  const sip = "@exotel-npm-dev/webrtc-client-sdk";
  const url = "file:///left-out.cjs";
  registerHooks({
    resolve: (name, context, next) => (name === sip ? { url, format: "commonjs", shortCircuit: true } : next(name, context)),
    load: (from, context, next) =>
      from === url
        ? { format: "commonjs", shortCircuit: true, source: "exports.ExotelWebClient = class {};" }
        : next(from, context),
  });
  const load = createRequire(import.meta.url);
  const sdk = "@exotel-npm-dev/exotel-ip-calling-crm-websdk/output";
  const asked = [];
  const real = globalThis.fetch;
  globalThis.fetch = async (...call) => {
    const answer = await real(...call);
    asked.push(answer.status);
    return answer;
  };
  console.info = console.error = () => {};
  const Crm = load(`${sdk}/ExotelCRMWebSDK.js`).default;
  await new Crm("a-token-of-its-own", "agent-1").Initialize(() => {}).catch(() => {});
  const Phone = load(`${sdk}/ExotelWebPhoneSDK.js`).default;
  const phone = new Phone("a-token-of-its-own", { customerId: "c", appId: "a", appUserId: "agent-1" });
  const rang = await new Promise((resolve) => phone.MakeCall("09876543210", (how, data) => resolve({ how, data })));
  if (asked.join() !== "200,200,200,200") throw new Error(`the SDK was answered ${asked}`);
  if (rang.how !== "success" || !rang.data.Data.CallSid) throw new Error(`no call was placed: ${JSON.stringify(rang)}`);
  const other = await real(TRUSTED, { headers });
  await other.text();
  if (other.status !== 200) throw new Error(`another site answered ${other.status}`);
  const why = await refused(() => real(UNKNOWN));
  if (!/CERT|SIGNATURE|SELF_SIGNED/.test(why)) throw new Error(`an unknown certificate: ${why}`);
  return "settings read and a call placed at integrationscore.mum1.exotel.com; another site: its own certificate, no credential";
}

const clients = {
  websdk,
  async fetch() {
    const echo = await fetch(ECHO, { headers });
    const other = await fetch(TRUSTED, { headers });
    await other.text();
    return judge(await echo.json(), 1, other.status, await refused(() => fetch(UNKNOWN)));
  },
  async https() {
    const echo = await get(ECHO);
    const other = await get(TRUSTED);
    return judge(JSON.parse(echo.text), 1, other.status, await refused(() => get(UNKNOWN)));
  },
  undici: () => undici(false),
  "undici-h2": () => undici(true),
  async axios() {
    const { default: axios } = await import("axios");
    const echo = await axios.get(ECHO, { headers });
    const other = await axios.get(TRUSTED, { headers });
    return judge(echo.data, 1, other.status, await refused(() => axios.get(UNKNOWN)));
  },
};

console.log(JSON.stringify({ did: await clients[process.argv[2]]() }));
process.exit(0);
