//! The store that a fleet shares: the keys of `[store]` with `url`, and `[fleet]`.
//!
//! Rules and types only; who speaks to it is `credential/fleet/`.

use std::time::Duration;

use crate::config::fault::{ValueFault, Verdict, fault};
use crate::config::section::Section;
use crate::config::url::{HttpOrigin, HttpUrl};
use crate::config::values::{Value, Values};
use crate::secret::SecretSource;

/// Where Redis listens where its URL does not say.
const PORT: u16 = 6379;

/// Where a Sentinel listens where that is not said.
const SENTINEL_PORT: u16 = 26379;

/// A Redis that replicas share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedStoreConfig {
    /// Where it is, or a Sentinel, or a node of the cluster; `tls` where the scheme is `rediss`.
    pub origin: HttpOrigin,
    /// Further Sentinels or nodes, asked where the first does not answer.
    pub nodes: Vec<HttpOrigin>,
    /// How the server that can be written is found.
    pub layout: StoreLayout,
    /// The number of the database.
    pub database: u16,
    /// The user of its ACL; the default user without one.
    pub username: Option<String>,
    /// That user's password.
    pub password: Option<SecretSource>,
    /// A second key with which entries may be sealed.
    pub other_key: Option<SecretSource>,
    /// What the names of its keys and channels begin with.
    pub prefix: String,
    /// How long a connection and a response may take.
    pub timeout: Duration,
    /// Whether this replica mints.
    pub role: FleetRole,
    /// How often a replica looks itself.
    pub poll: Duration,
}

/// How the server that can be written is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreLayout {
    /// It is the one that the URL names.
    Single,
    /// Sentinels say where it is.
    Sentinel {
        /// The name under which they watch it.
        service: String,
        /// The user of the Sentinels' own ACL.
        username: Option<String>,
        /// That user's password.
        password: Option<SecretSource>,
    },
    /// Each name has one among the nodes of a cluster, which say where.
    Cluster,
}

/// What a replica does for its fleet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FleetRole {
    /// Mints and publishes.
    Keeper,
    /// Reads what keepers publish; it has no login secret.
    Holder,
}

impl FleetRole {
    /// The word of the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            FleetRole::Keeper => "keeper",
            FleetRole::Holder => HOLDER,
        }
    }
}

const HOLDER: &str = "holder";

/// Whether `values`, those of `[fleet]`, make a holder.
pub(super) fn is_holder(values: &Values) -> bool {
    values.text("role") == Some(HOLDER)
}

/// Whether `fleet` makes a holder, or would if its role could be read.
pub(super) fn may_be_holder(fleet: &Section) -> bool {
    is_holder(&fleet.values) || fleet.faulty.contains(&"role")
}

/// A rule of the table of keys: `redis://HOST[:PORT][/DATABASE]`.
pub fn url(value: &Value) -> Verdict {
    match value {
        Value::Text(text) => read(text).map(|_| ()),
        _ => Ok(()),
    }
}

/// A rule of the table of keys: further Sentinels or nodes, `HOST[:PORT]` each.
pub fn nodes(value: &Value) -> Verdict {
    let Value::List(items) = value else {
        return Ok(());
    };
    for item in items {
        if item.contains(['/', '@']) || read(&format!("redis://{item}")).is_err() {
            // The item itself stays unsaid: it may carry a password before its host.
            return fault(
                "one of them is not a host with a port",
                "write each as \"HOST:PORT\"; scheme, user and password are those of store.url and its keys",
            );
        }
    }
    Ok(())
}

/// A rule of the table of keys: the name under which Sentinels watch a server.
pub fn service(value: &Value) -> Verdict {
    match value {
        Value::Text(text) if text.is_empty() || text.contains(char::is_whitespace) => fault(
            "Sentinels know no such name",
            "write what stands in their `sentinel monitor NAME …`, such as \"mymaster\"",
        ),
        _ => Ok(()),
    }
}

/// A rule of the table of keys: what can begin a key's name, and be told from the rest.
pub fn prefix(value: &Value) -> Verdict {
    let Value::Text(text) = value else {
        return Ok(());
    };
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ':');
    match text.len() <= 64 && text.chars().all(is_plain) {
        true => Ok(()),
        false => fault(
            "a prefix has at most 64 letters, digits, `-`, `_`, `.` and `:`",
            "write something like \"headset\" or \"crm:headset\"",
        ),
    }
}

/// What was written stays unsaid where it may carry a password.
fn read(text: &str) -> Result<(HttpOrigin, u16), ValueFault> {
    let write = "write it as \"redis://HOST:6379\", or \"rediss://HOST:6379\" for TLS";
    if text.contains('@') {
        return fault(
            "it carries a user or password before the host, and a secret is written by reference only",
            "remove it, and set store.username and store.password = { file = \"/path\" }",
        );
    }
    let (scheme, rest) = match text.split_once("://") {
        Some(("redis", rest)) => ("http", rest),
        Some(("rediss", rest)) => ("https", rest),
        Some((other, _)) if other.contains("sentinel") => {
            return fault(
                format!("its scheme is {other}, not redis or rediss"),
                "write \"redis://HOST:26379\" of one Sentinel, sentinel = \"NAME\", and the other Sentinels into store.nodes",
            );
        }
        Some((other, _)) if other.contains("cluster") => {
            return fault(
                format!("its scheme is {other}, not redis or rediss"),
                "write \"redis://HOST:6379\" of one node, cluster = true, and some of the others into store.nodes",
            );
        }
        Some((other, _)) => {
            return fault(format!("its scheme is {other}, not redis or rediss"), write);
        }
        None => return fault("it has no scheme", write),
    };
    if rest
        .split('/')
        .next()
        .is_some_and(|hosts| hosts.contains(','))
    {
        return fault(
            "it names several hosts",
            "write \"redis://HOST:PORT\" of one, and the others into store.nodes",
        );
    }
    let parsed = match HttpUrl::parse(&format!("{scheme}://{rest}")) {
        Ok(parsed) => parsed,
        Err(why) => return fault(format!("this store cannot be used: {why}"), write),
    };
    let database = match parsed.path.trim_matches('/') {
        "" => 0,
        number => match number.parse() {
            Ok(number) => number,
            Err(_) => {
                return fault(
                    "its path is not the number of a database",
                    "write it as \"redis://HOST:6379/2\", or without a path",
                );
            }
        },
    };
    let mut origin = parsed.origin;
    if !names_port(text) {
        origin.port = PORT;
    }
    Ok((origin, database))
}

/// Whether the URL `text` says a port.
fn names_port(text: &str) -> bool {
    let authority = text.split('/').nth(2).unwrap_or(text);
    authority.rsplit_once(':').is_some_and(|(_, port)| {
        !port.is_empty() && port.bytes().all(|digit| digit.is_ascii_digit())
    })
}

/// Whether `values`, those of `[store]`, name a cluster.
pub(super) fn is_cluster(values: &Values) -> bool {
    values.flag("cluster")
}

/// Whether `values`, those of `[store]`, name another database than the first.
pub(super) fn names_database(values: &Values) -> bool {
    let read = values.text("url").and_then(|url| read(url).ok());
    read.is_some_and(|(_, database)| database != 0)
}

/// The shared store of `[store]` and `[fleet]`, where there is one.
pub(super) fn shared(store: &Values, fleet: &Values) -> Option<SharedStoreConfig> {
    // The row has judged it.
    let (mut origin, database) = read(store.text("url")?).ok()?;
    let layout = match store.text("sentinel") {
        Some(service) => StoreLayout::Sentinel {
            service: service.to_owned(),
            username: store.text("sentinel_username").map(str::to_owned),
            password: store.secret("sentinel_password").cloned(),
        },
        None if is_cluster(store) => StoreLayout::Cluster,
        None => StoreLayout::Single,
    };
    let is_sentinel = store.is_set("sentinel");
    if is_sentinel && !names_port(store.text("url")?) {
        origin.port = SENTINEL_PORT;
    }
    let nodes = store
        .list("nodes")
        .unwrap_or_default()
        .iter()
        .filter_map(|node| {
            let url = format!("redis{}://{node}", if origin.tls { "s" } else { "" });
            let mut at = read(&url).ok()?.0;
            if is_sentinel && !names_port(&url) {
                at.port = SENTINEL_PORT;
            }
            Some(at)
        });
    Some(SharedStoreConfig {
        nodes: nodes.collect(),
        layout,
        origin,
        database,
        username: store.text("username").map(str::to_owned),
        password: store.secret("password").cloned(),
        other_key: store.secret("other_key").cloned(),
        prefix: store.need_text("prefix").to_owned(),
        timeout: *store.need_duration("timeout"),
        role: match is_holder(fleet) {
            true => FleetRole::Holder,
            false => FleetRole::Keeper,
        },
        poll: *fleet.need_duration("poll"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_says_where_redis_is_and_its_password_is_not_repeated() {
        let at = |text: &str| {
            read(text)
                .map(|(origin, database)| {
                    (origin.tls, origin.host.to_string(), origin.port, database)
                })
                .map_err(|(why, fix)| format!("{why}; {fix}"))
        };
        assert_eq!(at("redis://h"), Ok((false, "h".into(), 6379, 0)));
        assert_eq!(
            at("rediss://H.example:7000/3"),
            Ok((true, "h.example".into(), 7000, 3))
        );
        assert_eq!(at("redis://[::1]"), Ok((false, "[::1]".into(), 6379, 0)));
        assert_eq!(at("redis://[::1]:1/"), Ok((false, "[::1]".into(), 1, 0)));
        assert_eq!(at("redis://h:80"), Ok((false, "h".into(), 80, 0)));
        for (bad, part) in [
            ("redis://:hunter2@h", "store.password"),
            ("redis://u:hunter2@h:6379/0", "store.username"),
            ("http://h", "scheme"),
            ("h:6379", "redis://"),
            ("redis://h/x", "database"),
            ("redis://h?x=hunter2", "query"),
            ("redis://a:1,b:2", "store.nodes"),
            ("redis+sentinel://a:1/mymaster", "sentinel = "),
            ("redis-cluster://a:1", "cluster = true"),
        ] {
            let told = at(bad).unwrap_err();
            assert!(told.contains(part) && !told.contains("hunter2"), "{told}");
        }
    }
}
