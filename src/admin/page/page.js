"use strict";
const $ = (id) => document.getElementById(id);
const KEPT = 720, MINUTE = 12, POINTS = 120;
const DAY = 86400e3, SOON = 14 * DAY;

/* An element of `tag` with `props` and `inside`: texts and elements; nothing is ever HTML. */
function el(tag, props, ...inside) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(props || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "style") Object.assign(made.style, value);
    else made.setAttribute(name === "cls" ? "class" : name, value);
  }
  made.append(...inside.flat().filter((part) => part || part === 0));
  return made;
}
/* A text of headset's own, in which `this` is code. */
const prose = (text) => text.split("`").map((part, index) => (index % 2 ? el("code", {}, part) : part));
function svg(tag, props) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(props)) made.setAttribute(name, value);
  return made;
}

/* --- time --- */
/* How far this machine's clock is ahead of headset's, in ms. */
let ahead = 0;
const now = () => Date.now() - ahead;
const at = (text) => (text ? Date.parse(text) : null);
const two = (n) => String(n).padStart(2, "0");
/* `29 d 03:04:05`, as a clock that falls. */
function clock(ms) {
  const s = Math.max(0, Math.floor(ms / 1000)), d = Math.floor(s / 86400), h = Math.floor(s / 3600) % 24;
  const rest = `${two(Math.floor(s / 60) % 60)}:${two(s % 60)}`;
  return (d ? `${d} d ` : "") + (d || h ? `${two(h)}:` : "") + rest;
}
/* `3 days`, `25 minutes`: for sentences. */
function span(ms) {
  const s = Math.round(Math.abs(ms) / 1000);
  for (const [size, word] of [[86400, "day"], [3600, "hour"], [60, "minute"], [1, "second"]]) {
    const n = Math.floor(s / size);
    if (n >= (word === "second" ? 0 : 1) && (n >= 2 || size === 1 || s < 2 * size)) {
      if (n >= 1 || size === 1) return `${n} ${word}${n === 1 ? "" : "s"}`;
    }
  }
  return "0 seconds";
}
const hour = (ms) => new Date(ms).toLocaleTimeString("en-GB");
const stamp = (ms) => (Math.abs(now() - ms) < DAY / 2 ? hour(ms)
  : `${new Date(ms).toLocaleDateString("en-GB", { day: "numeric", month: "short" })} ${hour(ms)}`);
const many = (n, word) => `${n} ${word}${n === 1 ? "" : "s"}`;

/* What must be written anew as time goes by, by the section that it stands in. */
const ticks = { credentials: [], routes: [], failures: [], reloads: [] };
const tick = (section, write) => { write(); ticks[section].push(write); };
const falling = (section, end) => {
  const made = el("span");
  tick(section, () => { made.textContent = clock(end - now()); });
  return made;
};

/* --- numbers --- */
function short(n, unit) {
  const text = n >= 1000 ? `${(n / 1000).toFixed(n < 10000 ? 1 : 0)} k` : n >= 100 || n === 0 ? n.toFixed(0)
    : n >= 10 ? n.toFixed(1) : n.toFixed(2);
  return unit ? `${text} ${unit}` : text;
}
const lasting = (ms) => (ms >= 10000 ? `${(ms / 1000).toFixed(0)} s` : ms >= 1000 ? `${(ms / 1000).toFixed(1)} s`
  : ms >= 10 ? `${ms.toFixed(0)} ms` : `${ms.toFixed(1)} ms`);
const percent = (share) => (share === 0 ? "0 %" : share < 0.001 ? "< 0.1 %" : `${(share * 100).toFixed(share < 0.1 ? 1 : 0)} %`);

/* --- the history: [calls, failed, own, p50, p99] every 5 s --- */
let times = [], samples = new Map();
function learn(told, whole) {
  if (whole) { times = []; samples = new Map(); }
  times = times.concat(told.times).slice(-KEPT);
  const names = new Set(told.routes.map((route) => route.name));
  for (const name of samples.keys()) if (!names.has(name)) samples.delete(name);
  for (const route of told.routes) {
    samples.set(route.name, (samples.get(route.name) || []).concat(route.samples).slice(-KEPT));
  }
}
/* What came of the last `some` samples of a route. */
function lately(name, some = MINUTE) {
  const all = (samples.get(name) || []).slice(-some);
  const sum = (index) => all.reduce((total, one) => total + one[index], 0);
  const ended = all.filter((one) => one[4] > 0);
  const last = ended[ended.length - 1];
  return { seconds: all.length * 5, calls: sum(0), failed: sum(1), own: sum(2), p50: last && last[3], p99: last && last[4] };
}
/* How much of the hour is drawn: no more than there is. */
const SPANS = [[60, "5 min"], [180, "15 min"], [KEPT, "1 h"]];
const drawn = () => SPANS.find(([some]) => times.length <= some) || SPANS[2];
/* `POINTS` values at most, the newest last, each of what `fold` makes of its samples. */
function points(name, fold) {
  const [span] = drawn(), each = Math.max(1, span / POINTS), made = [];
  const all = (samples.get(name) || []).slice(-span);
  const padded = new Array(span - all.length).fill(null).concat(all);
  for (let i = 0; i < span; i += each) {
    const some = padded.slice(i, i + each).filter(Boolean);
    made.push(some.length ? fold(some) : null);
  }
  return made;
}
const most = (index) => (some) => Math.max(...some.map((one) => one[index]));
const rate = (some) => some.reduce((sum, one) => sum + one[0], 0) / (some.length * 5);
const failing = (some) => {
  const calls = some.reduce((sum, one) => sum + one[0], 0);
  return calls ? some.reduce((sum, one) => sum + one[1], 0) / calls : 0;
};

/* --- charts --- */
function path(values, top, closed) {
  let text = "", open = false;
  values.forEach((value, x) => {
    if (value === null) { if (open && closed) text += `V40`; open = false; return; }
    const y = (40 - Math.min(1, value / top) * 38).toFixed(1);
    text += open ? `L${x} ${y}` : closed ? `M${x} 40L${x} ${y}` : `M${x} ${y}`;
    open = true;
  });
  return closed && open ? `${text}L${values.length - 1} 40` : text;
}
function chart(title, value, lines, top, say, word) {
  const reach = top ? `at most ${say(top)}` : "none", ago = drawn()[1];
  const picture = svg("svg", { viewBox: `0 0 ${lines[0].values.length - 1} 40`, preserveAspectRatio: "none", role: "img",
    "aria-label": `${title === "p50 · p99" ? "Latency, half and 99 of 100 calls" : title}, the last ${ago}: now ${value}, ${reach}` });
  for (const { values, line, area } of lines) {
    if (area) picture.append(svg("path", { class: area, d: path(values, top || 1, true) }));
    picture.append(svg("path", { class: line, d: path(values, top || 1, false) }));
  }
  return el("figure", {}, el("figcaption", {}, title, el("b", { cls: word }, value)), picture,
    el("div", { cls: "span", "aria-hidden": "true" }, el("span", {}, `${ago} ago`), el("span", {}, reach)));
}
const highest = (...all) => Math.max(...all.flat().filter((value) => value !== null), 0);

/* --- sections: written only where what they show has changed, so that a selection stays --- */
const shown = {};
function put(section, key, make) {
  const text = JSON.stringify(key);
  if (shown[section] === text) return;
  shown[section] = text;
  ticks[section] = [];
  $(section).replaceChildren(make());
}

const LEVEL = { live: "", failing: "heed", none: "bad", expired: "bad", refused: "bad" };
const levelOf = (c) => (c.state === "none" && !c.last_error ? "heed"
  : LEVEL[c.state] || (c.human && at(c.human.due) - now() < SOON ? "heed" : ""));

function due(end) {
  const made = el("span", { cls: "quiet" });
  tick("credentials", () => {
    made.textContent = end > now() ? `By ${stamp(end)}, in ${clock(end - now())}; then calls fail.` : "Now: calls fail.";
  });
  return made;
}
function credential(c) {
  const level = levelOf(c), end = at(c.expires), begun = at(c.issued), renews = at(c.renews), retries = at(c.retries);
  const rows = [];
  const row = (name, value) => rows.push(el("dt", {}, name), el("dd", {}, value));
  const bar = el("div", { cls: "life", "aria-hidden": "true" });
  if (end && begun) {
    const done = el("i");
    tick("credentials", () => { done.style.width = `${Math.max(0, Math.min(100, (end - now()) / (end - begun) * 100))}%`; });
    bar.append(done);
    if (renews && renews < end) bar.append(el("b", { style: { left: `${(end - renews) / (end - begun) * 100}%` } }));
  }
  const alive = c.state === "live" || c.state === "failing";
  const left = el("p", { cls: "left" });
  if (end && alive) left.append(falling("credentials", end), el("small", {}, "until it expires"));
  else if (alive) left.append("∞", el("small", {}, "does not expire"));
  else left.append(end ? "expired" : "none", el("small", {}, end ? `at ${stamp(end)}` : "calls that need it fail"));
  if (renews && alive && !retries) row("Next renewal", ["in ", falling("credentials", renews), ` (${stamp(renews)})`]);
  row("Generation", String(c.generation));
  if (c.shared) row("In the fleet", inFleet(c.shared));
  row("Last mint", begun ? stamp(begun) : "never");
  if (c.last_rejected) row("Last rejected", stamp(at(c.last_rejected)));
  if (c.tenants) row("Tenants", Object.entries(c.tenants).map(([state, n]) => `${n} ${state}`).join(", ") || "none yet");
  row("Last error", c.last_error ? el("span", { cls: "bad-text" }, c.last_error) : "none");
  if (retries) row("Next attempt", ["in ", falling("credentials", retries)]);
  const urgent = c.human && (c.human.reason || at(c.human.due) - now() < SOON);
  if (c.human && !urgent) row("Needs a person", [`by ${stamp(at(c.human.due))}: `, prose(c.human.action)]);
  const human = urgent && el("p", { cls: "todo" }, el("b", {}, "What to do: "), prose(c.human.action), el("br"), due(at(c.human.due)));
  return el("article", { cls: level, "data-credential": c.name },
    el("header", {}, el("h3", {}, c.name), el("span", { cls: "quiet" }, c.kind),
      el("span", { cls: "state" }, c.tenants ? `at worst ${c.state}` : c.state)),
    left, bar, el("dl", {}, rows), human);
}

/* What a replica holds beside what is published, and who may mint. */
function inFleet(s) {
  const held = s.generation ? `has ${s.generation}` : "has none";
  const shown = !s.published ? "none is published" : s.published === s.generation ? "which is published" : `published is ${s.published}`;
  return [`${held}, ${shown}`, s.lease ? `; ${s.lease.replica} mints, until ${stamp(at(s.lease.until))} at the latest` : ""];
}
function fleet(f) {
  const up = f.up === null ? "was not asked anything yet" : f.up ? "is up" : "is down";
  return el("div", {},
    el("p", {}, `This replica is a ${f.role}. `, el("code", {}, f.store), " ", el("b", { cls: f.up === false ? "heed-text" : null }, up),
      f.since ? ` since ${stamp(at(f.since))}.` : "."),
    f.last_error && el("p", { cls: "quiet" }, `Last error, ${stamp(at(f.last_error_at))}: ${f.last_error}`));
}

function route(r) {
  const seen = lately(r.name), share = seen.calls ? seen.failed / seen.calls : 0;
  const last = lately(r.name, 3);
  const level = !last.failed ? "" : last.failed / last.calls >= 0.5 ? "bad" : share >= 0.05 ? "heed" : "";
  const calls = points(r.name, rate), p50 = points(r.name, most(3)), p99 = points(r.name, most(4)), faults = points(r.name, failing);
  const open = r.in_flight ? `${r.in_flight} in flight` : "nothing in flight";
  const streams = r.streams.map(([kind, n]) => `${n} ${kind}`).join(", ");
  const where = `${r.match.host || ""}${r.match.path} → ${r.upstream}`;
  return el("article", { cls: level, "data-route": r.name },
    el("header", {}, el("h3", {}, r.name), el("span", { cls: "quiet" }, r.credential ? `with ${r.credential}` : "no credential",
      r.pace ? ` · ${r.pace.calls} calls in ${lasting(r.pace.per_seconds * 1000)}${r.pace.shared ? " of all replicas together" : ""}` : ""),
      el("span", { cls: "quiet", style: { marginLeft: "auto" } }, open + (streams ? ` (streams: ${streams})` : ""),
        r.ratelimit === null ? "" : ` · ${r.ratelimit} calls left in the upstream's window`)),
    el("p", { cls: "way" }, where),
    el("div", { cls: "charts" },
      chart("Calls", seen.seconds ? short(seen.calls / seen.seconds, "/s") : "–",
        [{ values: calls, line: "line", area: "area" }], highest(calls), (n) => short(n, "/s")),
      chart("p50 · p99", seen.p99 ? `${lasting(seen.p50)} · ${lasting(seen.p99)}` : "–",
        [{ values: p99, line: "upper" }, { values: p50, line: "line" }], highest(p99), lasting),
      chart("Failed", seen.calls ? percent(share) : "–",
        [{ values: faults, line: "faults", area: "faults-area" }], highest(faults), percent, share >= 0.05 ? "bad-text" : null)));
}

/* Those that are alike are one, with the newest in front. */
function alike(failures) {
  const groups = new Map();
  for (const f of failures) {
    const key = JSON.stringify([f.code, f.status, f.route, f.method, f.path, f.detail]);
    if (groups.has(key)) groups.get(key).push(f);
    else groups.set(key, [f]);
  }
  return [...groups.values()];
}
function failure(all) {
  const f = all[0], ids = all.map((one) => one.request_id).filter(Boolean);
  const times = all.length > 1 ? `${all.length} times, the last after ` : "after ";
  const took = f.took_ms ? lasting(f.took_ms) : "less than 1 ms";
  return el("li", {}, el("time", { datetime: f.at }, stamp(at(f.at))), el("div", {},
    el("p", {}, el("b", {}, f.code), ` · ${f.status} · route ${f.route} · ${times}${took}`),
    el("p", { cls: "code" }, `${f.method} ${f.path}`),
    f.detail && el("p", { cls: "quiet" }, f.detail),
    ids.length ? el("p", { cls: "quiet" }, ids.length > 1 ? "request ids " : "request id ",
      ids.slice(0, 3).flatMap((id, index) => [index ? ", " : "", el("code", {}, id)]), ids.length > 3 ? ", …" : "") : null));
}
function list(items, kept, none) {
  if (!items.length) return el("p", { cls: "quiet" }, none);
  const made = el("div", {}, el("ol", { cls: "list" }, items.slice(0, kept)));
  if (items.length > kept) {
    made.append(el("details", {}, el("summary", {}, `${items.length - kept} more`), el("ol", { cls: "list" }, items.slice(kept))));
  }
  return made;
}
function listener(l) {
  return el("li", {}, el("b", {}, l.name), el("div", {},
    el("p", {}, el("code", {}, l.bind), l.tls ? ", over TLS" : "", l.mode === "forward" ? ": a forward proxy" : ": a base URL"),
    l.mode === "forward" ? el("p", { cls: "quiet" }, l.elsewhere === "pass" ? "Other targets pass, without a credential" : "Other targets are refused",
      l.local_ca ? `; it speaks as the upstreams by ${l.local_ca}.` : ".") : null));
}
function authority(a) {
  const end = at(a.expires), near = end - now() < SOON;
  return el("li", {}, el("b", {}, a.listener), el("div", {},
    el("p", {}, a.subject, `, for ${a.hosts ? a.hosts.join(", ") : "any host"}`),
    el("p", { cls: near ? "heed-text" : "quiet" }, `${end > now() ? "ends" : "ended"} ${stamp(end)}`, near ? ["; ", ...prose(a.action)] : "")));
}
function reload(r) {
  const word = r.successful ? "A changed configuration is in use" : "A changed configuration was refused; the previous one stays in use";
  return el("li", {}, el("time", { datetime: r.at }, stamp(at(r.at))), el("div", {},
    el("p", { cls: r.successful ? null : "heed-text" }, el("b", {}, word)), r.problems.length ? el("pre", {}, r.problems.join("\n")) : null));
}

/* --- the verdict --- */
function judge(s) {
  const bad = [], heed = [];
  if (s.not_live) bad.push([`headset is stuck: ${s.not_live}.`, "Restart it and keep its log."]);
  for (const c of s.credentials) {
    const todo = c.human ? c.human.action : null, why = c.last_error;
    const all = c.tenants ? `A tenant's ${c.name}` : c.name;
    if (c.state === "refused") bad.push([`${all} was refused: calls that need it fail.`, todo || why]);
    else if (c.state === "expired") bad.push([`${all} has expired: calls that need it fail.`, todo || why]);
    else if (c.state === "none" && why) bad.push([`${all} has never been minted: calls that need it fail.`, todo || why]);
    else if (c.state === "none" && !(c.tenants && !Object.keys(c.tenants).length)) heed.push([`${all} is being minted.`]);
    else if (c.state === "failing") heed.push([`Renewing ${c.name} fails; it is still valid.`, todo || why]);
    else if (c.human && at(c.human.due) - now() < SOON) heed.push([`${c.name} needs manual action by ${stamp(at(c.human.due))}.`, todo]);
  }
  if (s.fleet && s.fleet.up === false) {
    heed.push(["The shared store of the fleet is down.", `${s.fleet.last_error}. Calls go on with what is live; replicas come back by themselves.`]);
  }
  for (const r of s.routes) {
    /* Where most fail it shows at once, and where that is over, too. */
    const last = lately(r.name, 3), most = last.failed > 0 && last.failed / last.calls >= 0.5;
    const seen = most ? last : lately(r.name);
    if (!seen.calls || seen.failed / seen.calls < 0.05 || !last.failed) continue;
    const codes = s.failures.filter((f) => f.route === r.name && now() - at(f.at) < 90e3);
    const own = seen.own && codes.length ? codes[0] : null;
    /* The headline is read aloud when it changes: what changes by the second stands below it. */
    const count = `${seen.failed} of ${many(seen.calls, "call")} in the last ${seen.seconds === 60 ? "minute" : `${seen.seconds} seconds`}. `;
    (most ? bad : heed).push([`${most ? "Most" : "Some"} calls of ${r.name} fail.`, count + (own
      ? `headset answered: ${[own.code, own.detail].filter(Boolean).join(", ")}.` : `The upstream answered so: look at ${r.upstream}.`)]);
  }
  for (const a of s.local_cas) {
    const end = at(a.expires);
    if (end <= now()) bad.push([`The local authority of ${a.listener} has ended: nobody believes what it signs.`, a.action]);
    else if (end - now() < SOON) heed.push([`The local authority of ${a.listener} ends ${stamp(end)}.`, a.action]);
  }
  const last = s.last_reload;
  if (last && !last.successful) heed.push(["A changed configuration was refused; the previous one stays in use.", last.problems[0]]);
  if (s.not_ready && !s.not_live) heed.push([`headset is not ready: ${s.not_ready}.`]);
  return { verdict: bad.length ? "bad" : heed.length ? "heed" : "well", reasons: bad.concat(heed) };
}

const ICON = { well: "%23227a52", heed: "%23c98a1b", bad: "%23c8322a", stale: "%23777", waiting: "%23777" };
function verdict(word, headline, summary, reasons) {
  const key = JSON.stringify([word, headline, summary, reasons]);
  if (shown.verdict === key) return;
  shown.verdict = key;
  document.body.dataset.verdict = word;
  if ($("headline").textContent !== headline) $("headline").textContent = headline;
  $("summary").replaceChildren(...prose(summary));
  $("reasons").replaceChildren(...reasons.map(([text, todo]) => el("li", {}, el("b", {}, text), todo ? el("span", {}, " ", prose(todo)) : null)));
  document.title = word === "well" ? "headset" : `${{ bad: "✕", stale: "?", heed: "!", waiting: "…" }[word]} ${headline} – headset`;
  $("icon").href = `data:image/svg+xml,<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 9 9'><circle cx='4.5' cy='4.5' r='4' fill='${ICON[word]}'/></svg>`;
}

/* --- what is told --- */
let state = null, heard = 0, broken = null;
const still = (c) => ({ ...c, expires_in_seconds: 0, human: c.human && { ...c.human, due_in_seconds: 0 } });

function show() {
  const s = state;
  $("told").hidden = false;
  $("token").hidden = true;
  $("about").textContent = `${s.version} at ${location.host}`;
  put("credentials", s.credentials.map(still), () => (s.credentials.length
    ? el("div", { cls: "cards" }, s.credentials.map(credential)) : el("p", { cls: "quiet" }, "No route names a credential.")));
  put("routes", [s.routes.map((r) => ({ ...r, calls: 0 })), times[times.length - 1]], () => el("div", { cls: "routes" }, s.routes.map(route)));
  put("listeners", s.listeners, () => list(s.listeners.map(listener), 8, "None."));
  $("authorities-told").hidden = !s.local_cas.length;
  $("fleet-told").hidden = !s.fleet;
  put("fleet", s.fleet, () => (s.fleet ? fleet(s.fleet) : el("p", {})));
  put("authorities", s.local_cas.map((a) => ({ ...a, expires_in_seconds: 0 })), () => list(s.local_cas.map(authority), 8, "None."));
  put("failures", s.failures, () => list(alike(s.failures).map(failure), 8, s.unrouted
    ? `None, but for what no route took: ${many(s.unrouted, "call")} since the start.` : "None."));
  put("reloads", [s.reloads, s.config], () => el("div", {}, list(s.reloads.map(reload), 5, "As it was read at the start."),
    el("p", { cls: "quiet" }, "In use: ", el("code", {}, s.config))));
  sum();
}
function sum() {
  const s = state;
  if (!s) return;
  const { verdict: word, reasons } = judge(s);
  if (word !== "well") return verdict(word, reasons[0][0], reasons[0][1] || "", reasons.slice(1));
  const next = s.credentials.map((c) => at(c.renews)).filter(Boolean).sort((a, b) => a - b)[0];
  const calls = s.routes.reduce((total, r) => total + lately(r.name).calls, 0);
  verdict("well", "All is well.", [many(s.credentials.length, "credential") + " live", many(s.routes.length, "route"),
    calls ? `${many(calls, "call")} in the last minute` : "no calls in the last minute",
    next ? `next renewal in ${span(next - now())}` : null].filter(Boolean).join(" · "), []);
}
function beat() {
  for (const section of Object.values(ticks)) for (const write of section) write();
  if (!state) return;
  const age = performance.now() - heard;
  if (broken || age > Math.max(4, 3 * state.every) * 1000) {
    const when = hour(Date.now() - age - ahead);
    verdict("stale", broken || "headset does not answer.", `What is below is old: it was so at ${when}. Asking again.`, []);
    $("fresh").textContent = `last heard ${span(age)} ago`;
  } else {
    sum();
    $("fresh").textContent = "live";
  }
}

const HEARD = {
  history: (told) => learn(told, true),
  sample: (told) => learn(told, false),
  state(told) {
    ahead = Date.now() - at(told.now);
    state = told; heard = performance.now(); broken = null;
    show();
    beat();
  },
};

/* --- asking: by fetch, since an EventSource cannot send a token --- */
let token = null;
const ask = (path, more) => fetch(path, { cache: "no-store", credentials: "omit", redirect: "error",
  headers: token ? { Authorization: `Bearer ${token}` } : {}, ...more });

async function listen() {
  const quiet = new AbortController();
  let timer = null;
  const awake = () => { clearTimeout(timer); timer = setTimeout(() => quiet.abort(), 20000); };
  try {
    awake();
    const answer = await ask("/events", { signal: quiet.signal });
    if (answer.status === 401) return needToken();
    if (!answer.ok) { broken = `${(await answer.text()).trim() || `headset answered ${answer.status}`}`; waiting(); return 5000; }
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    for (let rest = ""; ;) {
      const { value, done } = await reader.read();
      if (done) break;
      awake();
      const whole = (rest + value).split("\n\n");
      rest = whole.pop();
      for (const text of whole) {
        const [name, data] = text.split("\n");
        HEARD[name.slice(7)](JSON.parse(data.slice(6)));
      }
    }
    broken = "headset has closed the connection.";
  } catch (error) {
    broken = error.name === "AbortError" ? "headset does not answer." : "headset cannot be reached.";
  } finally {
    clearTimeout(timer);
  }
  waiting();
  return 1000;
}
function waiting() {
  if (state) beat();
  else verdict("stale", broken, "Asking again.", []);
}
function needToken() {
  $("token").hidden = false;
  $("told").hidden = true;
  state = null;
  verdict("waiting", token ? "That is not the token." : "headset wants its admin token.", "", []);
  token = null;
  $("token-field").focus();
  return 0;
}
async function go() {
  for (let pause = await listen(); pause; pause = await listen()) {
    await new Promise((resume) => setTimeout(resume, pause));
  }
}
$("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  token = $("token-field").value.trim();
  $("token-field").value = "";
  go();
});

/* --- explain --- */
$("explain-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  /* The query decides nothing, and may hold what is nobody's to know. */
  const url = $("explain-url").value.split(/[?#]/)[0];
  const query = new URLSearchParams({ method: $("explain-method").value, url });
  try {
    const answer = await ask(`/explain?${query}`);
    $("explained").replaceChildren(...(answer.ok ? explained(await answer.json()) : [el("p", { cls: "bad-text" }, await answer.text())]));
  } catch {
    $("explained").replaceChildren(el("p", { cls: "bad-text" }, "headset cannot be reached."));
  }
});
function explained(e) {
  const call = el("code", {}, `${e.method} ${e.path}`), rows = [];
  const row = (name, value) => rows.push(el("dt", {}, name), el("dd", {}, value));
  const names = (all) => all.flatMap((name, index) => [index ? ", " : "", el("code", {}, name)]);
  const on = e.listeners.map((l) => l.name + (l.wants_proof ? " (the caller must show a token or certificate)" : "")).join(", ");
  if (on) row("Taken by", on);
  if (e.note) row("Note", prose(e.note));
  if (e.refused) {
    row("Why", prose(e.refused.detail));
    row("What to do", prose(e.refused.hint));
    return [el("p", {}, call, " ", e.route ? `would take the route ${e.route}` : "takes no route", ". headset answers it itself: ",
      el("b", {}, `${e.refused.status} ${e.refused.code}`), "."), el("dl", {}, rows)];
  }
  if (e.connect === "tunnelled") {
    return [el("p", {}, call, " is a tunnel to ", el("code", {}, e.sent_to), ": the bytes pass unread both ways, without a credential."), el("dl", {}, rows)];
  }
  if (e.connect === "opened") {
    row("Tunnel", "opened: headset answers as the host, and serves the calls in it");
    if (!e.sent_to) return [el("p", {}, call, " opens a tunnel whose calls take the routes of its host."), el("dl", {}, rows)];
  }
  if (e.tenant) row("Tenant", ["named by ", el("code", {}, e.tenant), "; without it headset answers 403"]);
  row("Removed", names(e.removed));
  row("Set", names(e.set));
  if (e.kept_back.length) row("Kept back of the response", names(e.kept_back));
  row("Effect", `${e.effect}, by ${e.effect_is_configured ? "the route" : "its method"}`);
  row("Sent once more", el("ul", {}, e.replay.map((r) => el("li", {}, el("span", { cls: r.again ? "yes" : "no" }, r.again ? "yes" : "never"), `, where ${r.after}`))));
  const pairs = (all, unit) => Object.entries(all).map(([key, value]) => `${key} ${value}${unit}`).join(", ");
  row("Timeouts", pairs(e.timeouts_seconds, " s"));
  row("Limits", pairs(e.limits, ""));
  return [el("p", {}, call, e.route ? ` takes the route ${e.route} and is sent to ` : " takes no route and is sent to ", el("code", {}, e.sent_to), e.credential
    ? ` with the credential ${e.credential.name} (${e.credential.kind}).` : ", without a credential: the caller's own passes."), el("dl", {}, rows)];
}

setInterval(beat, 500);
go();
