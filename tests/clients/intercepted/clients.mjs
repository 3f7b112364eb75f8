// A Node client as an application that knows nothing of headset. Argument: which. Prints one
// line of JSON.
import https from "node:https";

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

const clients = {
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
