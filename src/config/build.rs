//! Sections that hold no problem into a [`Config`].
//!
//! Nothing can fail here: every row of the table of keys that is read with `need_*`
//! is `Required` or has a default, and `load.rs` comes here only without problems.

use std::time::Duration;

use ring::digest::{Context, SHA256};

use crate::base::name::Name;
use crate::base::problem::Problem;
use crate::config::forward::{self, ForwardConfig};
use crate::config::outbound::{self, tls};
use crate::config::places::Places;
use crate::config::section::Section;
use crate::config::tenant::{self, TenantRule};
use crate::config::url::{HttpUrl, plain_host};
use crate::config::values::Values;
use crate::config::{
    AccessConfig, AccessFormat, AdminConfig, AdminSocket, Announce, Bind, Config, CredentialConfig,
    Effect, Limits, ListenerConfig, ListenerTls, LocalCa, LogConfig, LogFormat, PaceConfig,
    ProxySources, RouteConfig, SocketAccess, StoreConfig, Timeouts, UpstreamProtocol, UpstreamTls,
    rules, shared_store,
};

/// Builds the configuration from `sections` that hold no problem.
pub fn build(sections: &[Section], warnings: Vec<Problem>, places: Places) -> Config {
    let of = |table: &'static str| sections.iter().filter(move |s| s.table == table);
    let empty = Values::default();
    let one = |table| of(table).next().map_or(&empty, |section| &section.values);
    let times = timeouts(one("timeouts"));
    let trust = tls(one("upstream_tls"), "", &UpstreamTls::default());
    let routes: Vec<RouteConfig> = of("route")
        .filter_map(|section| route(section, &times, &trust))
        .collect();
    let listeners = of("listener")
        .filter_map(|section| listener(section, &routes))
        .collect();
    let credentials = of("credential")
        .filter_map(|section| credential(section, &trust))
        .collect();
    Config {
        listeners,
        admin: AdminConfig {
            bind: match one("admin").need_bind("bind") {
                Bind::Tcp(address) => *address,
                Bind::Unix(_) => unreachable!("the row of admin.bind refuses it"),
            },
            token: one("admin").secret("token").cloned(),
            socket: match one("admin").text("socket") {
                None => AdminSocket::Usual,
                Some(rules::NO_SOCKET) => AdminSocket::None,
                Some(path) => AdminSocket::At(path.into()),
            },
        },
        routes,
        credentials,
        limits: limits(one("limits")),
        timeouts: times,
        workers: size(one("workers"), "count"),
        egress: outbound::egress(one("egress")),
        trust,
        store: store(one("store"), one("fleet")),
        log: log(one("log")),
        digest: digest(sections),
        warnings,
        places,
    }
}

/// The first 12 hex digits of a SHA-256 over every value in its one spelling,
/// defaults included and secrets by reference: one meaning has one digest, whichever
/// source each value came from.
pub fn digest(sections: &[Section]) -> String {
    let mut context = Context::new(&SHA256);
    let mut feed = |text: &str| {
        context.update(&(text.len() as u64).to_be_bytes());
        context.update(text.as_bytes());
    };
    for section in sections {
        feed(&section.at);
        let own = section.kind.as_ref().map(|(_, values)| values);
        for values in std::iter::once(&section.values).chain(own) {
            for (path, (value, _)) in &values.0 {
                feed(path);
                feed(&value.canonical());
            }
        }
    }
    let digest = context.finish();
    digest.as_ref()[..6]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

fn listener(section: &Section, routes: &[RouteConfig]) -> Option<ListenerConfig> {
    let values = &section.values;
    let bind = values.need_bind("bind").clone();
    let is_loopback = bind.is_loopback();
    let mut hosts: Vec<String> = match values.list("hosts") {
        Some([star]) if star == "*" => Vec::new(),
        Some(hosts) => hosts.iter().map(|host| plain_host(host)).collect(),
        None if matches!(bind, Bind::Unix(_)) => Vec::new(),
        None if is_loopback => ["localhost", "127.0.0.1", "[::1]"].map(String::from).into(),
        None => Vec::new(),
    };
    // An empty list is any name already; a host joined to it would narrow it.
    if !hosts.is_empty() {
        hosts.extend(routes.iter().filter_map(|route| route.host.clone()));
        let mut seen = std::collections::HashSet::new();
        hosts.retain(|host| seen.insert(host.clone()));
    }
    Some(ListenerConfig {
        name: section.name.clone()?,
        bind,
        hosts,
        origins: values
            .need_list("origins")
            .iter()
            // One of an application's own scheme is compared as it is written.
            .map(|origin| match HttpUrl::parse(origin) {
                Ok(url) => url.origin.to_string(),
                Err(_) => origin.clone(),
            })
            .collect(),
        caller_token: values.secret("caller_token").cloned(),
        dangerous_allow_any_caller: values.flag("dangerous_allow_any_caller"),
        proxy_protocol: (values.list("proxy_protocol.from"))
            .and_then(|from| ProxySources::parse(from).ok()),
        tls: listener_tls(values),
        forward: forward(values, is_loopback),
        ca: local_ca(values),
        access: SocketAccess {
            // `rules::mode` has seen that it is one.
            mode: values
                .text("socket_mode")
                .and_then(rules::octal)
                .unwrap_or(SocketAccess::TIGHT),
            owner: values.text("socket_owner").map(ToOwned::to_owned),
            group: values.text("socket_group").map(ToOwned::to_owned),
        },
        allow_users: values.list("allow_users").map(<[String]>::to_vec),
    })
}

/// The rows of its keys have seen that networks and ports are some.
fn forward(values: &Values, is_loopback: bool) -> Option<ForwardConfig> {
    let networks = values.need_list("private_networks").iter();
    (values.need_text("mode") == "forward").then(|| ForwardConfig {
        passes_elsewhere: match values.text("elsewhere") {
            Some(word) => word == "pass",
            None => is_loopback,
        },
        private_networks: networks.filter_map(|text| forward::network(text)).collect(),
        tunnel_ports: forward::read_ports(values.need_list("tunnel_ports")),
    })
}

/// `cross.rs` has seen that a certificate and a key come together.
fn listener_tls(values: &Values) -> Option<ListenerTls> {
    Some(ListenerTls {
        cert: values.path("tls.cert")?.to_owned(),
        key: values.path("tls.key")?.to_owned(),
        client_ca: values.path("tls.client_ca").map(Into::into),
    })
}

/// `cross.rs` has seen that both come together.
fn local_ca(values: &Values) -> Option<LocalCa> {
    Some(LocalCa {
        cert: values.path("ca.cert")?.to_owned(),
        key: values.secret("ca.key")?.clone(),
    })
}

fn route(section: &Section, times: &Timeouts, trust: &UpstreamTls) -> Option<RouteConfig> {
    let values = &section.values;
    let (host, path) = section.matcher()?;
    let mut own = times.clone();
    for (key, time) in [
        ("connect", &mut own.connect),
        ("connect_retry", &mut own.connect_retry),
        ("first_byte", &mut own.first_byte),
        ("idle", &mut own.idle),
        ("tunnel_idle", &mut own.tunnel_idle),
        ("expect_continue", &mut own.expect_continue),
        ("upstream_keep_alive", &mut own.upstream_keep_alive),
        ("max_connection_age", &mut own.max_connection_age),
        ("credential_wait", &mut own.credential_wait),
    ] {
        if let Some(set) = values.duration(&format!("timeouts.{key}")) {
            *time = *set;
        }
    }
    Some(RouteConfig {
        name: section.name.clone()?,
        host,
        path,
        upstream: values.need_url("upstream").clone(),
        resolve: values.resolve("resolve").cloned().unwrap_or_default(),
        credential: values.text("credential").and_then(Name::parse),
        tenant: tenant_rule(values),
        effect: values.text("effect").map(|word| match word {
            "read" => Effect::Read,
            "message" => Effect::Message,
            "call" => Effect::Call,
            _ => Effect::Write,
        }),
        strip_prefix: values.flag("strip_prefix"),
        expose_issuer: values.flag("expose_issuer"),
        replay_401: values.flag("replay_401"),
        drop_odd_names: values.need_text("odd_names") == "drop",
        keeps_names: values.need_text("name_case") == "keep",
        pass_cookies: values.need_text("upstream_cookies") == "pass",
        upstream_protocol: match values.need_text("upstream_protocol") {
            "h1" => UpstreamProtocol::H1,
            "h2" => UpstreamProtocol::H2,
            _ => UpstreamProtocol::Auto,
        },
        announce: {
            let announced = values.need_list("announce");
            let has = |word: &str| announced.iter().any(|item| item == word);
            Announce {
                via: has("via"),
                forwarded: has("forwarded"),
                x_forwarded: has("x_forwarded"),
                request_id: has("request_id"),
            }
        },
        rewrite_location: values.flag("rewrite_location"),
        host_header: values.text("host_header").map(str::to_ascii_lowercase),
        pace: pace(values),
        timeouts: own,
        tls: tls(values, "upstream_tls.", trust),
    })
}

fn pace(values: &Values) -> Option<PaceConfig> {
    Some(PaceConfig {
        calls: *values.integer("pace.calls")?,
        per: *values.need_duration("pace.per"),
        burst: *values.need_integer("pace.burst"),
        wait: *values.need_duration("pace.wait"),
        shared: values.flag("pace.shared"),
    })
}

fn tenant_rule(values: &Values) -> Option<TenantRule> {
    let header = values.text("tenant.header")?;
    let text = values.text("tenant.allow_pattern");
    Some(TenantRule {
        // Both were judged by their rows.
        header: http::HeaderName::from_bytes(header.as_bytes()).ok()?,
        allow: values.list("tenant.allow").unwrap_or_default().to_vec(),
        pattern: text.and_then(|text| tenant::pattern(text).ok()),
    })
}

fn credential(section: &Section, trust: &UpstreamTls) -> Option<CredentialConfig> {
    let (kind, values) = section.kind.as_ref()?;
    Some(CredentialConfig {
        name: section.name.clone()?,
        kind,
        values: values.clone(),
        origins: section
            .values
            .need_list("origins")
            .iter()
            .filter_map(|url| HttpUrl::parse(url).ok())
            .collect(),
        tls: tls(&section.values, "tls.", trust),
        resolve: section
            .values
            .resolve("resolve")
            .cloned()
            .unwrap_or_default(),
    })
}

fn limits(values: &Values) -> Limits {
    Limits {
        header_bytes: size(values, "header_bytes"),
        header_count: size(values, "header_count"),
        response_header_count: size(values, "response_header_count"),
        connections: size(values, "connections"),
        in_flight: size(values, "in_flight"),
        streams: size(values, "streams"),
        tunnels: size(values, "tunnels"),
        body_rate: size(values, "body_rate"),
        replay_body: size(values, "replay_body"),
        tenants: size(values, "tenants"),
    }
}

fn timeouts(values: &Values) -> Timeouts {
    let time = |key: &str| -> Duration { *values.need_duration(key) };
    Timeouts {
        header: time("header"),
        connect: time("connect"),
        connect_retry: time("connect_retry"),
        first_byte: time("first_byte"),
        idle: time("idle"),
        tunnel_idle: time("tunnel_idle"),
        expect_continue: time("expect_continue"),
        caller_keep_alive: time("caller_keep_alive"),
        upstream_keep_alive: time("upstream_keep_alive"),
        max_connection_age: time("max_connection_age"),
        credential_wait: time("credential_wait"),
        mint: time("mint"),
        drain: time("drain"),
    }
}

fn store(values: &Values, fleet: &Values) -> Option<StoreConfig> {
    let path = values.path("path").map(ToOwned::to_owned);
    let shared = shared_store::shared(values, fleet);
    let is_anywhere = path.is_some() || shared.is_some();
    let key = values.secret("key").filter(|_| is_anywhere)?.clone();
    Some(StoreConfig { path, shared, key })
}

fn log(values: &Values) -> LogConfig {
    let format = match values.need_text("access") {
        "json" => Some(AccessFormat::Json),
        "common" => Some(AccessFormat::Common),
        _ => None,
    };
    LogConfig {
        level: match values.need_text("level") {
            "error" => tracing::Level::ERROR,
            "warn" => tracing::Level::WARN,
            "debug" => tracing::Level::DEBUG,
            "trace" => tracing::Level::TRACE,
            _ => tracing::Level::INFO,
        },
        format: match values.need_text("format") {
            "human" => LogFormat::Human,
            "json" => LogFormat::Json,
            _ => LogFormat::Auto,
        },
        access: format.map(|format| AccessConfig {
            format,
            per_million: u32::try_from(*values.need_integer("access_sample")).unwrap_or(1_000_000),
        }),
    }
}

fn size(values: &Values, key: &str) -> usize {
    usize::try_from(*values.need_integer(key)).unwrap_or(usize::MAX)
}
