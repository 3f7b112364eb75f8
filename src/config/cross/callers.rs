//! Who may call on a listener: what its keys owe each other.
//!
//! A listener that other machines can reach would lend them the credential, so it
//! must say who may call. Its TLS is whole or absent.

use crate::config::findings::Findings;
use crate::config::listener::{Bind, ProxySources};
use crate::config::section::Section;

const TOKEN: &str = "caller_token";
const ANYONE: &str = "dangerous_allow_any_caller";
const CERT: &str = "tls.cert";
const KEY: &str = "tls.key";
const ACCESS: [&str; 3] = ["socket_mode", "socket_owner", "socket_group"];
const CLIENT_CA: &str = "tls.client_ca";
const USERS: &str = "allow_users";
const PROXIES: &str = "proxy_protocol.from";
const CA: [&str; 2] = ["ca.cert", "ca.key"];

/// Judges one listener.
pub(super) fn check(found: &mut Findings, listener: &Section) {
    let Some(bind) = listener.values.bind("bind") else {
        return;
    };
    let set = |key| listener.values.0.contains_key(key);
    tls(found, listener, bind);
    local_ca(found, listener);
    access(found, listener, bind);
    users(found, listener, bind);
    proxies(found, listener, bind);
    if bind.is_loopback() {
        return;
    }
    // An unreadable switch has its own problem already.
    let anyone = listener.values.flag(ANYONE) || !set(ANYONE);
    let at = &listener.at;
    if !(anyone || set(TOKEN) || set(CLIENT_CA)) {
        found.problem(
            listener.values.place("bind"),
            format!("{at}.bind"),
            format!("{bind} can be reached from outside this machine, and any caller would call with your credential"),
            format!("bind to 127.0.0.1, or set {at}.{TOKEN}, {at}.{CLIENT_CA} or {at}.{ANYONE} = true"),
        );
    }
    if set(TOKEN) && !set(CERT) {
        found.warn(
            listener.values.place(TOKEN),
            format!("{at}.{TOKEN}"),
            "it comes over the network in clear, and whoever sees it can call".into(),
            format!("set {at}.{CERT} and {at}.{KEY}"),
        );
    }
}

/// A certificate and its key, and only where one is shown.
fn local_ca(found: &mut Findings, listener: &Section) {
    let has = |key| listener.values.0.contains_key(key);
    let at = &listener.at;
    for (one, other) in [(CA[0], CA[1]), (CA[1], CA[0])] {
        if has(one) && !has(other) {
            found.problem(
                listener.values.place(one),
                format!("{at}.{one}"),
                format!("it is of no use without {other}"),
                format!("set {at}.{other}, or remove {at}.{one}: then headset makes an authority for each run"),
            );
        }
    }
    if has(CA[0])
        && listener
            .values
            .text("mode")
            .is_some_and(|mode| mode != "forward")
    {
        found.warn(
            listener.values.place(CA[0]),
            format!("{at}.{}", CA[0]),
            "only a forward listener speaks TLS as an upstream, so this changes nothing".into(),
            format!("set {at}.mode = \"forward\", or remove {at}.ca"),
        );
    }
}

fn access(found: &mut Findings, listener: &Section, bind: &Bind) {
    if matches!(bind, Bind::Unix(_)) {
        return;
    }
    let set = ACCESS
        .iter()
        .filter(|key| listener.values.0.contains_key(**key));
    for key in set {
        found.warn(
            listener.values.place(key),
            format!("{}.{key}", listener.at),
            format!("{bind} is no Unix socket, so this changes nothing"),
            "remove it, or bind to `unix:` and a path".into(),
        );
    }
}

/// Users are known on a Unix socket alone.
fn users(found: &mut Findings, listener: &Section, bind: &Bind) {
    if matches!(bind, Bind::Unix(_)) || !listener.values.is_set(USERS) {
        return;
    }
    found.warn(
        listener.values.place(USERS),
        format!("{}.{USERS}", listener.at),
        format!("{bind} is no Unix socket, where nobody says who calls, so every call is refused"),
        format!("bind to `unix:` and a path, or ask for a {TOKEN} instead"),
    );
}

/// Where nobody could come from, everybody is refused; where everybody may, anybody can say
/// to be anyone.
fn proxies(found: &mut Findings, listener: &Section, bind: &Bind) {
    let from = listener.values.list(PROXIES).map(ProxySources::parse);
    let Some(Ok(from)) = from else {
        return;
    };
    let place = || listener.values.place(PROXIES);
    let at = format!("{}.{PROXIES}", listener.at);
    let is_unix = matches!(bind, Bind::Unix(_));
    if is_unix != from.unix || is_unix && !from.networks.is_empty() {
        let why = match is_unix {
            true => format!("{bind} is a Unix socket, whose callers have no address"),
            false => format!("{bind} is no Unix socket, so nobody comes from one"),
        };
        let fix = match is_unix {
            true => "write [\"unix\"]".into(),
            false => "leave \"unix\" out".into(),
        };
        return found.problem(place(), at, why, fix);
    }
    if from
        .networks
        .iter()
        .any(|network| network.prefix_len() == 0)
        && !bind.is_loopback()
    {
        let why = "whoever can connect can say to be anyone";
        let fix = "name the networks of the load balancers";
        found.warn(place(), at, why.into(), fix.into());
    }
}

fn tls(found: &mut Findings, listener: &Section, bind: &Bind) {
    let set = |key: &&&str| listener.values.0.contains_key(**key);
    let all = [CERT, KEY, CLIENT_CA];
    let Some(first) = all.iter().find(set) else {
        return;
    };
    let place = || listener.values.place(first);
    if matches!(bind, Bind::Unix(_)) {
        found.problem(
            place(),
            format!("{}.{first}", listener.at),
            "a Unix socket is reached on this machine alone, by whom its permissions let in, so TLS on it would guard nothing".into(),
            "remove it, or bind to an address and port".into(),
        );
        return;
    }
    for key in [CERT, KEY].iter().filter(|key| !set(key)) {
        found.problem(
            place(),
            format!("{}.{key}", listener.at),
            format!("{first} is set, and TLS needs a certificate and its key"),
            format!("write {key} = \"/path\", or remove {first}"),
        );
    }
}
