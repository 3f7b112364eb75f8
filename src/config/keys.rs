//! ** THE LIST of keys **: one row for each key of the configuration.
//!
//! A row drives reading (`lower.rs`), `config/full.toml` and
//! `docs/configuration.md` (both `reference.rs`), so a key that is not here does
//! not exist. The keys of a credential kind stand in the kind's own file and are
//! handed in as [`KindKeys`](crate::config::key::KindKeys): this floor knows no kind.

use std::sync::LazyLock;

use crate::config::key::Fallback::{Absent, Required, Text};
use crate::config::key::{ConfigKey, ValueType, key};
use crate::config::rules::{host, origin, path};
use crate::config::{forward, no_proxy, outbound, rules, shared_store, tenant};

/// Splits a path of [`KEYS`] into its table and the rest: `route.*.upstream` is
/// `("route", true, "upstream")`, where `true` says that names stand below it.
pub fn split(path: &'static str) -> (&'static str, bool, &'static str) {
    match path.split_once(".*.") {
        Some((table, rest)) => (table, true, rest),
        None => {
            let (table, rest) = path.split_once('.').unwrap_or((path, ""));
            (table, false, rest)
        }
    }
}

/// [`KEYS`] with their paths split: every table of a configuration asks for them.
static SPLIT: LazyLock<Box<[SplitKey]>> = LazyLock::new(|| {
    let split = |key: &'static ConfigKey| {
        let (table, named, rest) = split(key.path);
        SplitKey {
            table,
            named,
            rest,
            key,
        }
    };
    KEYS.iter().map(split).collect()
});

struct SplitKey {
    table: &'static str,
    named: bool,
    rest: &'static str,
    key: &'static ConfigKey,
}

/// The tables of [`KEYS`] in their order, and whether each holds names.
pub fn tables() -> Vec<(&'static str, bool)> {
    let mut tables: Vec<(&str, bool)> = Vec::new();
    for &SplitKey { table, named, .. } in &*SPLIT {
        if !tables.iter().any(|(seen, _)| *seen == table) {
            tables.push((table, named));
        }
    }
    tables
}

/// The keys of one table with their paths relative to it.
pub fn of_table(table: &str) -> Vec<(&'static str, &'static ConfigKey)> {
    let of_this = SPLIT.iter().filter(|one| one.table == table);
    of_this.map(|one| (one.rest, one.key)).collect()
}

const ROOTS: ValueType = ValueType::Choice(&["system", "bundled"]);
const EFFECTS: ValueType = ValueType::Choice(&["read", "write", "message", "call"]);
const LEVELS: ValueType = ValueType::Choice(&["error", "warn", "info", "debug", "trace"]);
const PINS: &str = "[\"sha256//47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\"]";
const SECONDS: &str = "\"10s\"";

/// Every key, in the order of the reference.
#[rustfmt::skip]
pub const KEYS: &[ConfigKey] = &[
    key("listener.*.bind", ValueType::Bind, Required, "\"127.0.0.1:8080\"",
        "Where applications call in: an IP address and port, or `unix:` and the path of a socket."),
    key("listener.*.mode", ValueType::Choice(&["reverse", "forward"]), Text("reverse"), "\"reverse\"",
        "How calls come in. `reverse`: the application's base URL points at headset. `forward`: headset is the application's proxy (`HTTP_PROXY`, `HTTPS_PROXY`); calls to the upstreams of routes get what the route says."),
    key("listener.*.elsewhere", ValueType::Choice(&["pass", "refuse"]), Absent, "\"refuse\"",
        "What a forward listener does with calls and tunnels (CONNECT) to an origin that is no route's upstream: `pass` lets them through as they are, never with a credential; `refuse` answers 403. On loopback and on a Unix socket the default is `pass`, elsewhere `refuse`."),
    key("listener.*.private_networks", ValueType::List, Text(""), "[\"10.0.0.0/8\"]",
        "Private networks that `elsewhere = \"pass\"` lets calls and tunnels into: networks or addresses, loopback among them. Without any, only public addresses are reached. headset's own listeners, link-local addresses and the metadata services of clouds are refused in any case; the upstreams of routes never are.")
        .checked(forward::networks),
    key("listener.*.tunnel_ports", ValueType::List, Text("443,8443"), "[\"443\", \"8443\"]",
        "The ports that tunnels to elsewhere may lead to; `[\"*\"]` is any. Nobody sees what is said in a tunnel, so a port such as 25 would lend headset to whoever sends mail.")
        .checked(forward::ports),
    key("listener.*.hosts", ValueType::List, Absent, "[\"localhost\", \"127.0.0.1\", \"[::1]\"]",
        "The names it may be called by, without ports; `[\"*\"]` is any. On loopback the default is `localhost`, `127.0.0.1` and `[::1]`; elsewhere, and on a Unix socket, which no page of a browser reaches, it is any. A host that a route matches joins by itself.")
        .checked(host::hosts),
    key("listener.*.origins", ValueType::List, Text(""), "[\"https://crm.example.com\"]",
        "Further origins whose browser pages may call.")
        .checked(origin::origins),
    key("listener.*.caller_token", ValueType::Secret, Absent, "{ file = \"/run/secrets/headset/caller-token\" }",
        "What a caller must send as `Proxy-Authorization: Bearer`, or there as the password of `Basic`; on loopback too. headset watches a file; it runs a command once, at the start."),
    key("listener.*.dangerous_allow_any_caller", ValueType::Bool, Text("false"), "false",
        "Off loopback, anyone who can connect can call with your credential. headset listens there only with a `caller_token`, with `tls.client_ca`, or if this is `true`."),
    key("listener.*.socket_mode", ValueType::Text, Absent, "\"0660\"",
        "The permissions of a Unix socket, in octal; whoever may write it may call. Default `0600`: only the user that headset runs as.")
        .checked(rules::mode),
    key("listener.*.socket_owner", ValueType::Text, Absent, "\"headset\"",
        "The user who owns a Unix socket, by number or by name in `/etc/passwd`. To give it away headset needs `CAP_CHOWN`."),
    key("listener.*.socket_group", ValueType::Text, Absent, "\"app\"",
        "The group of a Unix socket, by number or by name in `/etc/group`: one that headset is in, without further rights."),
    key("listener.*.allow_users", ValueType::List, Absent, "[\"app\", \"1001\"]",
        "The users whose processes may call on a Unix socket, by number or by name in `/etc/passwd`; the kernel says whose a connection is. Calls of all others, root's and headset's own user's too, are answered 403 (`caller_user`). Without it the permissions of the socket alone decide.")
        .checked(rules::users),
    key("listener.*.proxy_protocol.from", ValueType::List, Absent, "[\"10.0.0.0/8\"]",
        "The networks of load balancers that begin each connection with a header of the PROXY protocol (version 1 or 2), which says who calls; on a Unix socket `unix`. With it a connection from elsewhere, and one without such a header within `timeouts.header`, is closed.")
        .checked(rules::proxy_sources),
    key("listener.*.tls.cert", ValueType::Path, Absent, "\"/etc/headset/tls.crt\"",
        "A PEM file: the certificate to present to callers, then its intermediate certificates. With it the listener speaks TLS 1.2 and 1.3 only. headset watches all files of `tls`; open connections stay open."),
    key("listener.*.tls.key", ValueType::Path, Absent, "\"/etc/headset/tls.key\"",
        "A PEM file: its private key."),
    key("listener.*.tls.client_ca", ValueType::Path, Absent, "\"/etc/headset/callers.pem\"",
        "A PEM file of authorities: callers must show a certificate that one of them signed."),
    key("listener.*.ca.cert", ValueType::Path, Absent, "\"/etc/headset/ca.pem\"",
        "For a forward listener: a PEM file with the certificate of the local authority by which headset speaks TLS as the upstreams of routes. Applications must trust it. `headset ca init` makes one; without it headset makes one for each run, whose key is in memory alone. headset watches it."),
    key("listener.*.ca.key", ValueType::Secret, Absent, "{ file = \"/etc/headset/ca.key\" }",
        "The private key of `ca.cert`, PEM. Whoever has it can pose as the upstreams to all who trust that certificate."),

    key("admin.bind", ValueType::Bind, Text("127.0.0.1:9464"), "\"127.0.0.1:9464\"",
        "Where probes and Prometheus connect; in a pod `0.0.0.0:9464`.")
        .checked(rules::tcp),
    key("admin.token", ValueType::Secret, Absent, "{ file = \"/run/secrets/headset/admin-token\" }",
        "What a caller must send as `Authorization: Bearer` to see `/status`. Off loopback `/status` is not shown without a token; probes and `/metrics` never ask for it."),

    key("admin.socket", ValueType::Text, Absent, "\"/run/headset/admin.sock\"",
        "The Unix socket by which `headset status`, `health`, `retry` and `log-level` reach headset without a token, as the same user or root: an absolute path, or `none`. Without it headset puts one, named for the admin port, into the first folder that it can use: `$XDG_RUNTIME_DIR/headset`, `$RUNTIME_DIRECTORY` (systemd sets it), `/run/headset` where it exists, `store.path`.")
        .checked(rules::admin_socket),

    key("route.*.match.path", ValueType::Text, Text("/"), "\"/v1/cc-list\"",
        "The path prefix that a call must have, on segment boundaries and written decoded; the longest wins. `/` is any.")
        .checked(path::path_prefix),
    key("route.*.match.host", ValueType::Text, Absent, "\"cms.localhost\"",
        "The host that a call must name, without a port. It joins the `hosts` of every listener.")
        .checked(host::host),
    key("route.*.upstream", ValueType::Url, Required, "\"https://cms.example.com:8443\"",
        "Where its calls are sent. A path in it is put before the whole incoming path. Or a Unix socket, `unix:/run/app.sock`, where such a path stands behind a colon: `unix:/run/app.sock:/v1`."),
    key("route.*.resolve", ValueType::Resolve, Absent, "{ \"cms.example.com\" = \"192.0.2.10:8443\" }",
        "Where the host of `upstream` is dialled, as curl's `--resolve`: an IP address, with a port where it differs, or a list of them. `Host`, SNI, the certificate's names and `origins` stay those of `upstream`. A proxy is asked for the first address. A credential has a `resolve` of its own. In a variable: `name=address`, with commas between them."),
    key("route.*.credential", ValueType::Text, Absent, "\"cms_key\"",
        "The credential to attach. Without one the caller's own `Authorization` passes."),
    key("route.*.tenant.header", ValueType::Text, Absent, "\"x-context-id\"",
        "The header of a call that names its tenant. `{tenant}` in a text of the credential stands for that name, and each tenant has a credential of its own, minted at its first call.")
        .checked(tenant::header),
    key("route.*.tenant.allow", ValueType::List, Absent, "[\"1\", \"2\"]",
        "The tenants that calls may name: letters, digits, `-`, `.`, `_` and `~`. A call for any other is answered 403.")
        .checked(tenant::names),
    key("route.*.tenant.allow_pattern", ValueType::Text, Absent, "\"[0-9]{1,6}\"",
        "A regular expression for further tenants; the whole name must match. Whoever may call can make headset mint as many credentials as the pattern matches names.")
        .checked(tenant::a_pattern),
    key("route.*.effect", EFFECTS, Absent, "\"write\"",
        "What its calls do, which decides when a call may be retried. Without it the method decides: GET, HEAD and OPTIONS are `read`, all else is `write`."),
    key("route.*.strip_prefix", ValueType::Bool, Text("false"), "false",
        "Whether the matched prefix is removed before the upstream's own path is put in front."),
    key("route.*.expose_issuer", ValueType::Bool, Text("false"), "false",
        "Whether calls may reach the URLs at which credentials are issued, listed or revoked."),
    key("route.*.replay_401", ValueType::Bool, Text("false"), "false",
        "For `message` and `call`: whether to send the call once more after a 401 that rejects the credential."),
    key("route.*.odd_names", ValueType::Choice(&["pass", "drop"]), Text("pass"), "\"pass\"",
        "Whether to pass or drop fields of a request whose names hold more than letters, digits and `-`, as `tenant_id` does. A name that an upstream could take for a credential's is removed in both cases."),
    key("route.*.name_case", ValueType::Choice(&["keep", "lower"]), Text("keep"), "\"keep\"",
        "Whether the names of fields keep the letter case in which they came, in both directions, or become lower case. Over HTTP/2 all names are lower case."),
    key("route.*.upstream_cookies", ValueType::Choice(&["drop", "pass"]), Text("drop"), "\"drop\"",
        "Whether to drop or pass the upstream's `Set-Cookie` on a route with a credential. A session cookie in the application's hands would be a second, live credential."),
    key("route.*.upstream_protocol", ValueType::Choice(&["auto", "h1", "h2"]), Text("auto"), "\"auto\"",
        "The version of HTTP towards the upstream. `auto`: over TLS HTTP/2 where the upstream chooses it (ALPN), else HTTP/1.1. `h1`: HTTP/1.1 only. `h2`: HTTP/2 only, by ALPN over TLS and by prior knowledge without."),
    key("route.*.announce", ValueType::List, Text(""), "[\"via\", \"x_forwarded\"]",
        "Which fields tell the upstream about headset and its caller: `via`, `forwarded` (RFC 7239), `x_forwarded` (`X-Forwarded-For`, `-Proto` and `-Host`), `request_id` (`X-Request-Id`, made where the application sends none). Those that the application sends pass in any case.")
        .checked(rules::announced),
    key("route.*.rewrite_location", ValueType::Bool, Text("true"), "true",
        "Whether a `Location` on the upstream's own host, with either scheme, is rewritten to the listener."),
    key("route.*.host_header", ValueType::Text, Absent, "\"cms.example.com\"",
        "The `Host` to send to the upstream, where it differs from the host and port of `upstream`; with a port where that is not the scheme's default. TLS uses `upstream_tls.server_name`.")
        .checked(host::host_header),
    key("route.*.pace.calls", ValueType::Integer { min: 1, max: 1_000_000 }, Absent, "200",
        "How many calls may leave in `pace.per`, evenly spread. With it calls wait for their place in the order in which they came, so that the upstream's quota is kept; without it nothing is held."),
    key("route.*.pace.per", ValueType::Duration, Text("1m"), "\"1m\"",
        "In which time `pace.calls` may leave.").checked(rules::positive),
    key("route.*.pace.burst", ValueType::Integer { min: 1, max: 100_000 }, Text("1"), "10",
        "How many may leave at once where fewer left before. In any `pace.per` no more than `pace.calls` and `pace.burst` together leave."),
    key("route.*.pace.shared", ValueType::Bool, Text("false"), "false",
        "With `store.url`: whether all replicas of the fleet keep the pace together, for what an account may do in all (`docs/fleet.md`). They share it by the name of the route. Without it the pace is each replica's own."),
    key("route.*.pace.wait", ValueType::Duration, Text("5s"), "\"5s\"",
        "How long a call waits for its place at most. One for which there is none in that time is answered 429 (`paced`) at once."),
    key("route.*.timeouts.connect", ValueType::Duration, Absent, "\"3s\"",
        "As in `[timeouts]`, for this route.").checked(rules::positive),
    key("route.*.timeouts.connect_retry", ValueType::Duration, Absent, "\"1s\"",
        "As in `[timeouts]`, for this route."),
    key("route.*.timeouts.first_byte", ValueType::Duration, Absent, "\"5m\"",
        "As in `[timeouts]`, for this route."),
    key("route.*.timeouts.idle", ValueType::Duration, Absent, "\"5m\"",
        "As in `[timeouts]`, for this route."),
    key("route.*.timeouts.tunnel_idle", ValueType::Duration, Absent, "\"1h\"",
        "As in `[timeouts]`, for this route."),
    key("route.*.timeouts.expect_continue", ValueType::Duration, Absent, "\"1s\"",
        "As in `[timeouts]`, for this route."),
    key("route.*.timeouts.upstream_keep_alive", ValueType::Duration, Absent, "\"15s\"",
        "As in `[timeouts]`, for this route."),
    key("route.*.timeouts.max_connection_age", ValueType::Duration, Absent, "\"10m\"",
        "As in `[timeouts]`, for this route.").checked(rules::positive),
    key("route.*.timeouts.credential_wait", ValueType::Duration, Absent, "\"5s\"",
        "As in `[timeouts]`, for this route.").checked(rules::positive),
    key("route.*.upstream_tls.roots", ROOTS, Absent, "\"system\"",
        "As in `[upstream_tls]`, for this route. A route that sets one of `roots`, `ca` and `pin_sha256` takes none of them from there."),
    key("route.*.upstream_tls.ca", ValueType::Path, Absent, "\"/etc/headset/ca.pem\"",
        "As in `[upstream_tls]`, for this route."),
    key("route.*.upstream_tls.server_name", ValueType::Text, Absent, "\"cms.example.com\"",
        "As in `[upstream_tls]`, for this route.").checked(host::host),
    key("route.*.upstream_tls.pin_sha256", ValueType::List, Absent, PINS,
        "As in `[upstream_tls]`, for this route.").checked(outbound::pins),
    key("route.*.upstream_tls.client_cert", ValueType::Path, Absent, "\"/etc/headset/client.pem\"",
        "As in `[upstream_tls]`, for this route."),
    key("route.*.upstream_tls.client_key", ValueType::Path, Absent, "\"/etc/headset/client.key\"",
        "As in `[upstream_tls]`, for this route."),

    key("credential.*.kind", ValueType::Text, Required, "\"basicauth\"",
        "Which kind of credential this is; it decides which other keys there are."),
    key("credential.*.origins", ValueType::List, Text(""), "[\"https://cms.example.com:8443\"]",
        "Where it may be sent: URLs, each a prefix. Without any: the upstreams of the routes that name it.")
        .checked(rules::urls),
    key("credential.*.dangerous_plain_http", ValueType::Bool, Text("false"), "false",
        "Whether the login secret (an admin bearer, a password) may be sent to an `http://` URL off loopback, where everyone on the network path can read it. Without it such a URL is refused."),
    key("credential.*.resolve", ValueType::Resolve, Absent, "{ \"cms.example.com\" = \"192.0.2.10:8443\" }",
        "As in a route, towards the issuer of this credential: a route's `resolve` does not hold for it."),
    key("credential.*.tls.roots", ROOTS, Absent, "\"system\"",
        "As in `[upstream_tls]`, towards the issuer of this credential."),
    key("credential.*.tls.ca", ValueType::Path, Absent, "\"/etc/headset/ca.pem\"",
        "As in `[upstream_tls]`, towards the issuer of this credential."),
    key("credential.*.tls.server_name", ValueType::Text, Absent, "\"cms.example.com\"",
        "As in `[upstream_tls]`, towards the issuer of this credential.").checked(host::host),
    key("credential.*.tls.pin_sha256", ValueType::List, Absent, PINS,
        "As in `[upstream_tls]`, towards the issuer of this credential.").checked(outbound::pins),
    key("credential.*.tls.client_cert", ValueType::Path, Absent, "\"/etc/headset/client.pem\"",
        "As in `[upstream_tls]`, towards the issuer of this credential."),
    key("credential.*.tls.client_key", ValueType::Path, Absent, "\"/etc/headset/client.key\"",
        "As in `[upstream_tls]`, towards the issuer of this credential."),

    key("limits.header_bytes", ValueType::Size, Text("64KiB"), "\"64KiB\"",
        "The largest request head. From 8KiB to 1MiB.").checked(rules::header_bytes),
    key("limits.header_count", ValueType::Integer { min: 16, max: 1000 }, Text("100"), "100",
        "The most fields in a request head."),
    key("limits.response_header_count", ValueType::Integer { min: 16, max: 1000 }, Text("100"), "100",
        "The most fields in the head of an upstream's response; one with more is refused (`upstream_nonsense`)."),
    key("limits.connections", ValueType::Integer { min: 1, max: 1_000_000 }, Text("10000"), "10000",
        "The most open connections from callers, all listeners together."),
    key("limits.in_flight", ValueType::Integer { min: 1, max: 1_000_000 }, Text("1000"), "1000",
        "The most calls between the head of the request and the head of its response."),
    key("limits.streams", ValueType::Integer { min: 1, max: 1_000_000 }, Text("2000"), "2000",
        "The most responses between their head and their last byte. One more keeps its place in `in_flight`."),
    key("limits.tunnels", ValueType::Integer { min: 1, max: 1_000_000 }, Text("1000"), "1000",
        "The most tunnels (CONNECT) that forward listeners hold open to elsewhere. One more is answered 503."),
    key("limits.body_rate", ValueType::Size, Text("0"), "\"1KiB\"",
        "How much of a request body must come each second, on average over the time that headset waits for the caller, after the first 10 s of it. A slower call is abandoned; `\"0\"` is off."),
    key("limits.replay_body", ValueType::Size, Text("64KiB"), "\"64KiB\"",
        "How much of a request body is kept for a retry. A larger one still streams, but cannot be sent again. At most 16MiB; `\"0\"` is off.")
        .checked(rules::replay_body),
    key("limits.tenants", ValueType::Integer { min: 1, max: 100_000 }, Text("1000"), "1000",
        "How many tenants' credentials are kept for each credential. Beyond it the least recently used is evicted, unless it is in use or being minted, and minted anew at its next call."),

    key("timeouts.header", ValueType::Duration, Text("10s"), SECONDS,
        "For a request head, from its first byte, and for the first byte of a connection. It holds for the admin listener, too.").checked(rules::positive),
    key("timeouts.connect", ValueType::Duration, Text("3s"), "\"3s\"",
        "For name, TCP and TLS towards an upstream.").checked(rules::positive),
    key("timeouts.connect_retry", ValueType::Duration, Text("1s"), "\"1s\"",
        "How long headset retries a call of which nothing was sent, with short pauses, while the upstream refuses or closes connections: so an upstream that restarts loses no calls. `\"0\"` is off."),
    key("timeouts.first_byte", ValueType::Duration, Text("5m"), "\"5m\"",
        "From the last request byte sent to the head of the response; `\"0\"` is off."),
    key("timeouts.idle", ValueType::Duration, Text("5m"), "\"5m\"",
        "Without a byte in either direction on an open exchange; `\"0\"` is off."),
    key("timeouts.tunnel_idle", ValueType::Duration, Text("1h"), "\"1h\"",
        "Without a byte in either direction on a WebSocket, or in a tunnel of a forward listener, which may be silent for long where neither side pings; `\"0\"` is off."),
    key("timeouts.expect_continue", ValueType::Duration, Text("1s"), "\"1s\"",
        "How long a body announced by `Expect: 100-continue` waits for the upstream's 100 before headset asks for it all the same; `\"0\"` does not wait."),
    key("timeouts.caller_keep_alive", ValueType::Duration, Text("1h"), "\"1h\"",
        "For an idle connection from a caller; `\"0\"` is off."),
    key("timeouts.upstream_keep_alive", ValueType::Duration, Text("15s"), "\"15s\"",
        "For an idle connection to an upstream, or less where its `Keep-Alive` says so; `\"0\"` keeps none."),
    key("timeouts.max_connection_age", ValueType::Duration, Text("10m"), "\"10m\"",
        "How old a connection to an upstream may grow.").checked(rules::positive),
    key("timeouts.credential_wait", ValueType::Duration, Text("5s"), "\"5s\"",
        "How long a call waits for a credential before it is answered 503.").checked(rules::positive),
    key("timeouts.mint", ValueType::Duration, Text("10s"), SECONDS,
        "For one attempt to mint a credential.").checked(rules::positive),
    key("timeouts.drain", ValueType::Duration, Text("25s"), "\"25s\"",
        "From the signal to stop until calls in flight are abandoned.").checked(rules::positive),

    key("store.path", ValueType::Path, Absent, "\"/var/lib/headset\"",
        "A folder, made with mode 0700, in which credentials outlive a restart, sealed with `key`. Each headset needs a folder of its own."),
    key("store.key", ValueType::Secret, Absent, "{ file = \"/run/secrets/headset/store-key\" }",
        "The secret that seals it: at least 32 random characters. With another one headset cannot open what is stored."),
    key("store.other_key", ValueType::Secret, Absent, "{ file = \"/run/secrets/headset/other-store-key\" }",
        "With `url`: a second key with which headset opens what other replicas sealed, while the key is being changed. It seals nothing with it."),
    key("store.url", ValueType::Text, Absent, "\"redis://redis.example.com:6379\"",
        "A Redis or Valkey that a fleet of replicas shares: one of them mints, all use the credential (`docs/fleet.md`). `redis://` or, with TLS by `[upstream_tls]`, `rediss://`; a path such as `/2` is the number of the database. With a `path` beside it each replica keeps a sealed copy there, and starts with that while Redis is down.")
        .checked(shared_store::url),
    key("store.nodes", ValueType::List, Absent, "[\"redis-2.example.com:6379\"]",
        "With `sentinel` or `cluster`: further Sentinels, or nodes of the cluster, as `HOST:PORT`. They are asked where the one that `url` names does not answer.")
        .checked(shared_store::nodes),
    key("store.sentinel", ValueType::Text, Absent, "\"mymaster\"",
        "The name under which Sentinels watch the server. `url` and `nodes` are Sentinels then; headset asks them which server can be written, and again whenever its connection breaks.")
        .checked(shared_store::service),
    key("store.sentinel_username", ValueType::Text, Absent, "\"headset\"",
        "With `sentinel`: the user of the Sentinels' own ACL; without one their default user."),
    key("store.sentinel_password", ValueType::Secret, Absent, "{ file = \"/run/secrets/headset/sentinel-password\" }",
        "With `sentinel`: that user's password. `password` is the server's."),
    key("store.cluster", ValueType::Bool, Text("false"), "false",
        "With `url`: whether that is a node of a Redis Cluster. headset follows the cluster to the node that has a name."),
    key("store.username", ValueType::Text, Absent, "\"headset\"",
        "With `url`: the user of Redis's ACL; without one its default user."),
    key("store.password", ValueType::Secret, Absent, "{ file = \"/run/secrets/headset/redis-password\" }",
        "With `url`: that user's password."),
    key("store.prefix", ValueType::Text, Text("headset"), "\"headset\"",
        "With `url`: what the names of all keys and channels in Redis begin with, before a colon. Fleets that share a Redis and not their credentials have a prefix each.")
        .checked(shared_store::prefix),
    key("store.timeout", ValueType::Duration, Text("1s"), "\"1s\"",
        "With `url`: how long headset waits for a connection to Redis and for each response; after that Redis counts as down.")
        .checked(rules::positive),
    key("fleet.role", ValueType::Choice(&["keeper", "holder"]), Text("keeper"), "\"keeper\"",
        "With `store.url`: a `keeper` has the login secrets, mints when a credential is due, and publishes it; a `holder` only reads what keepers publish and needs none of the login secrets."),
    key("fleet.poll", ValueType::Duration, Text("60s"), "\"60s\"",
        "With `store.url`: how often a replica looks for a newer credential itself, give or take a quarter. Redis tells it of one at once; this is for what was missed.")
        .checked(rules::positive),

    key("upstream_tls.roots", ROOTS, Text("system"), "\"system\"",
        "Which authorities to trust: the machine's (the bundled ones where it has none), or Mozilla's as `bundled`."),
    key("upstream_tls.ca", ValueType::Path, Absent, "\"/etc/headset/ca.pem\"",
        "A PEM file of authorities to trust *instead* of `roots`."),
    key("upstream_tls.server_name", ValueType::Text, Absent, "\"cms.example.com\"",
        "The name to verify and to send as SNI, where it differs from the URL's host.").checked(host::host),
    key("upstream_tls.pin_sha256", ValueType::List, Absent, PINS,
        "Servers to trust by the SHA-256 of their public key, as curl's `--pinnedpubkey` takes it, *instead* of any authority: also self-signed ones and those with only a common name. Name and expiry are then not checked.")
        .checked(outbound::pins),
    key("upstream_tls.client_cert", ValueType::Path, Absent, "\"/etc/headset/client.pem\"",
        "A PEM file with the certificate to present to servers that ask for one, and its intermediate certificates. New connections use a changed file within 2 s."),
    key("upstream_tls.client_key", ValueType::Path, Absent, "\"/etc/headset/client.key\"",
        "The PEM file with its private key."),

    key("egress.proxy", ValueType::Text, Text("none"), "\"http://proxy.example.com:3128\"",
        "The HTTP proxy for headset's own connections, used by CONNECT: `none`, a URL without user and password, or `env` for what `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY` say. Not `env` by itself, since those may name headset. Loopback addresses are always reached without it.")
        .checked(outbound::proxy),
    key("egress.no_proxy", ValueType::List, Text(""), "[\"cms.example.com\", \"10.0.0.0/8\"]",
        "What is reached without the proxy: hosts and domains with all below them (`example.com`, `.example.com`, `*.example.com`), addresses, each with a port where only that port is meant, networks, or `*`; with `env` in addition to `NO_PROXY`.")
        .checked(no_proxy::exceptions),
    key("egress.proxy_authorization", ValueType::Secret, Absent, "{ file = \"/run/secrets/headset/proxy\" }",
        "What headset sends to the proxy: `user:password`, or a whole value such as `Bearer …`."),

    key("workers.count", ValueType::Integer { min: 1, max: 256 }, Text("1"), "1",
        "Worker threads. A sidecar's work fits one core; `docs/performance.md` says what more of them do."),

    key("log.level", LEVELS, Text("info"), "\"info\"",
        "The least severe level to write."),
    key("log.format", ValueType::Choice(&["auto", "human", "json"]), Text("auto"), "\"auto\"",
        "The format of a line; `auto` is `human` on a terminal, else `json`."),
    key("log.access", ValueType::Choice(&["off", "json", "common"]), Text("off"), "\"json\"",
        "Whether to write a line for each call to stdout, and how: as JSON, or in the Common Log Format of web servers, which holds less. No line holds a query, a field's secret or a body."),
    key("log.access_sample", ValueType::Share, Text("1"), "0.01",
        "Which share of the calls to write, from 0 to 1. Those that failed (headset answered itself, the status is 500 or more, the response broke off, the caller left) are always written."),
];
