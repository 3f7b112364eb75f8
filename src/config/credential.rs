//! A credential as it is configured, and the same for one tenant.

use crate::base::name::Name;
use crate::base::problem::Place;
use crate::config::outbound::UpstreamTls;
use crate::config::resolve::Resolve;
use crate::config::tenant::{MARK, holds_mark};
use crate::config::url::HttpUrl;
use crate::config::values::{Value, Values};

/// The key under which a credential made for one tenant holds its name; no file can
/// write it.
const NAME: &str = MARK;

/// `[credential.NAME]`: a name, a kind and the kind's own options, still untold
/// apart; `app/plan.rs` hands them to the kind.
#[derive(Clone, Debug)]
pub struct CredentialConfig {
    /// Its name, a metric label.
    pub name: Name,
    /// Its kind, one of those that the loader was given.
    pub kind: &'static str,
    /// The options, read by the kind's own table of keys.
    pub values: Values,
    /// Where it may go; empty means the upstreams of the routes that name it.
    pub origins: Vec<HttpUrl>,
    /// TLS towards its issuer.
    pub tls: UpstreamTls,
    /// Where the issuer's host is dialled, where the resolver is not asked.
    pub resolve: Resolve,
}

impl CredentialConfig {
    /// Whether `{tenant}` stands in one of its texts, so that each tenant has a
    /// credential of its own.
    pub fn is_per_tenant(&self) -> bool {
        holds_mark(&self.values)
    }

    /// The same with `{tenant}` in its texts replaced by `name`.
    pub fn for_tenant(&self, name: &str) -> CredentialConfig {
        let mut own = self.clone();
        for (value, _) in own.values.0.values_mut() {
            match value {
                Value::Text(text) => *text = text.replace(MARK, name),
                Value::List(items) => {
                    for item in items {
                        *item = item.replace(MARK, name);
                    }
                }
                _ => {}
            }
        }
        let name = Value::Text(name.to_owned());
        own.values.0.insert(NAME, (name, Place::Default));
        own
    }

    /// The tenant that it was made for by [`CredentialConfig::for_tenant`]: whatever keeps
    /// credentials by name must keep them by this too.
    pub fn tenant(&self) -> Option<&str> {
        self.values.text(NAME)
    }
}
