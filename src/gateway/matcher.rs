//! Which of a list of routes takes a call: pure.
//!
//! Host first, then the longest path prefix on segment boundaries, decided on the
//! normal form of the path (`path.rs`).

use std::cmp::Reverse;
use std::rc::Rc;

use crate::config::url::HttpOrigin;
use crate::gateway::error::CallerFault;
use crate::gateway::path::{is_under, normalise};

/// What a call must look like to take a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Matcher {
    /// The host it must name, lower case; `None` is any.
    pub host: Option<Box<str>>,
    /// The path prefix it must have.
    pub prefix: Box<str>,
    /// Whether a path with two readings is refused: the route carries a credential,
    /// or its upstream issues one.
    pub strict: bool,
}

impl Matcher {
    fn takes(&self, host: Option<&str>, path: &[u8]) -> bool {
        let host_fits = match (&self.host, host) {
            (None, _) => true,
            (Some(mine), Some(theirs)) => mine.eq_ignore_ascii_case(theirs),
            (Some(_), None) => false,
        };
        // `OPTIONS *` (RFC 9112 §3.2.4) asks the server as a whole.
        let whole = path == b"*" && &*self.prefix == "/";
        host_fits && (whole || is_under(path, self.prefix.as_bytes()))
    }

    fn precedence(&self) -> (bool, Reverse<usize>) {
        let length = self.prefix.trim_end_matches('/').len();
        (self.host.is_none(), Reverse(length))
    }
}

/// `routes` in such an order that the first whose matcher takes a call is the right one; equal
/// ones stay as they stand.
pub fn in_order<R>(routes: Vec<R>, matcher: impl Fn(&R) -> &Matcher) -> Vec<R> {
    let keys = routes.iter().map(|route| matcher(route).precedence());
    // The keys are sorted, not the routes, of which there are many types: sorting is 4 KB for each.
    let mut order: Vec<_> = keys.enumerate().map(|(at, key)| (key, at)).collect();
    order.sort_unstable();
    let mut routes: Vec<Option<R>> = routes.into_iter().map(Some).collect();
    let sorted = order.into_iter();
    sorted.filter_map(|(_, at)| routes[at].take()).collect()
}

/// Where a call goes.
pub(in crate::gateway) struct Placed {
    /// Its route; `None` is the built-in one.
    pub(in crate::gateway) index: Option<usize>,
    /// Why it is refused there.
    pub(in crate::gateway) fault: Option<CallerFault>,
    /// On a forward listener, the origin that it is for.
    pub(in crate::gateway) forwarded: Option<Rc<HttpOrigin>>,
}

impl Placed {
    pub(in crate::gateway) fn refused(
        fault: CallerFault,
        forwarded: Option<Rc<HttpOrigin>>,
    ) -> Placed {
        Placed {
            index: None,
            fault: Some(fault),
            forwarded,
        }
    }

    pub(in crate::gateway) fn found(
        found: Result<Option<usize>, (usize, CallerFault)>,
        forwarded: Option<Rc<HttpOrigin>>,
    ) -> Placed {
        let (index, fault) = match found {
            Ok(Some(index)) => (Some(index), None),
            Ok(None) => (None, Some(CallerFault::NoRoute)),
            Err((index, fault)) => (Some(index), Some(fault)),
        };
        Placed {
            index,
            fault,
            forwarded,
        }
    }
}

/// The route that takes `host` and `path`; an error names the strict route that a
/// path with two readings would have reached.
pub(in crate::gateway) fn find<'m>(
    matchers: impl Iterator<Item = &'m Matcher> + Clone,
    host: Option<&str>,
    path: &str,
) -> Result<Option<usize>, (usize, CallerFault)> {
    let normal = normalise(path);
    let choose = |path: &[u8]| matchers.clone().position(|m| m.takes(host, path));
    let chosen = choose(&normal.path);
    if matches!(normal.path, std::borrow::Cow::Borrowed(_)) {
        return Ok(chosen);
    }
    let raw = choose(path.as_bytes());
    let is_strict = |index: &usize| matchers.clone().nth(*index).is_some_and(|m| m.strict);
    let Some(strict) = chosen.filter(is_strict).or(raw.filter(is_strict)) else {
        return Ok(chosen);
    };
    if let Some(oddity) = normal.oddity {
        return Err((strict, CallerFault::OddPath(oddity)));
    }
    if raw != chosen {
        return Err((strict, CallerFault::TwoRoutes));
    }
    Ok(chosen)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matcher(host: Option<&str>, prefix: &str, strict: bool) -> Matcher {
        Matcher {
            host: host.map(Into::into),
            prefix: prefix.into(),
            strict,
        }
    }

    fn table() -> Vec<Matcher> {
        let table = vec![
            matcher(None, "/", false),
            matcher(None, "/v1", true),
            matcher(None, "/v1/public", false),
            matcher(Some("cms"), "/", true),
        ];
        in_order(table, |matcher| matcher)
    }

    #[test]
    fn of_equal_matchers_the_first_stays_first() {
        let any = || matcher(None, "/v1", false);
        let routes = vec![
            ("second", any()),
            ("third", any()),
            ("first", matcher(None, "/v1/x", false)),
        ];
        let sorted = in_order(routes, |(_, matcher)| matcher);
        let names: Vec<_> = sorted.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, ["first", "second", "third"]);
    }

    fn chosen(host: &str, path: &str) -> Result<String, String> {
        let table = table();
        find(table.iter(), Some(host), path)
            .map(|index| {
                let m = &table[index.unwrap()];
                format!("{}{}", m.host.as_deref().unwrap_or("*"), m.prefix)
            })
            .map_err(|(_, fault)| fault.to_string())
    }

    #[test]
    fn the_host_goes_before_the_longest_prefix() {
        assert_eq!(chosen("x", "/").unwrap(), "*/");
        assert_eq!(chosen("x", "/v1/a").unwrap(), "*/v1");
        assert_eq!(chosen("x", "/v10").unwrap(), "*/");
        assert_eq!(chosen("x", "/v1/public/a").unwrap(), "*/v1/public");
        assert_eq!(chosen("CMS", "/v1/a").unwrap(), "cms/");
    }

    #[test]
    fn a_path_with_two_readings_reaches_no_route_with_a_credential() {
        for path in [
            "/v1/../x",
            "/v1/%2e%2e/x",
            "/v1%2fx",
            "/%76%31/x",
            "/v1/x;/../y",
            "//v1/x",
            "/v1/%70ublic/a",
        ] {
            assert!(chosen("x", path).is_err(), "{path}");
        }
        assert_eq!(chosen("x", "/a/../b").unwrap(), "*/");
        assert_eq!(chosen("x", "/v1/a%20b").unwrap(), "*/v1");
        assert_eq!(chosen("x", "/v1/a;p=1").unwrap(), "*/v1");
    }
}
