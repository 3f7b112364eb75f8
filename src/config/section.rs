//! One table of the configuration after it was read, and before it is built.

use crate::base::name::Name;
use crate::base::problem::Place;
use crate::config::url::plain_host;
use crate::config::values::Values;

/// One table of the configuration, read.
#[derive(Debug)]
pub struct Section {
    /// The table in `keys.rs`: `route`.
    pub table: &'static str,
    /// Its name, where the table holds names.
    pub name: Option<Name>,
    /// Its path, for messages: `route.contacts`.
    pub at: String,
    /// Where it begins.
    pub place: Place,
    /// Its values; those that would not do are left out.
    pub values: Values,
    /// The paths of those that would not do.
    pub faulty: Vec<&'static str>,
    /// A credential's kind and the kind's own values.
    pub kind: Option<(&'static str, Values)>,
}

impl Section {
    /// Of a route: its host, lower case, and its path without a trailing slash.
    pub fn matcher(&self) -> Option<(Option<String>, String)> {
        let path = self.values.text("match.path")?;
        let path = match path.trim_end_matches('/') {
            "" => "/",
            path => path,
        };
        let host = self.values.text("match.host").map(plain_host);
        Some((host, path.to_owned()))
    }
}
