//! The limit of open files, and what fits under it.
//!
//! A process that has used up its descriptors cannot answer its probes, and the
//! kubelet then kills it with every call that it carries. So the soft limit is
//! raised to the hard one (which nothing here suffers from: no `select`), and fewer
//! callers are let in where even that is low. HTTP/2 callers can still open more
//! upstream connections than are reckoned with here; their calls then fail alone.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Kept for listeners, runtimes, probes, secrets and logins.
const RESERVE: u64 = 32;

/// Raises the limit, and returns how many callers' connections may be open at a time:
/// `wanted`, or fewer, with a warning, where the limit is too low.
pub fn connections(wanted: usize) -> usize {
    let now = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: now.maximum,
        maximum: now.maximum,
    };
    let limit = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => now.maximum,
        Err(_) => now.current,
    };
    let fit = limit.map_or(usize::MAX, fitting);
    if fit < wanted {
        tracing::warn!(
            limits.connections = wanted,
            limits.fit = fit,
            "the limit of open files ({}) is too low for `limits.connections`: fewer callers \
             are let in; raise it (ulimit -n, LimitNOFILE), or lower the key",
            limit.unwrap_or(u64::MAX)
        );
    }
    fit.min(wanted)
}

/// Each caller may need a second descriptor towards an upstream.
fn fitting(limit: u64) -> usize {
    let pairs = limit.saturating_sub(RESERVE) / 2;
    usize::try_from(pairs).unwrap_or(usize::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caller_and_its_upstream_fit_beside_the_reserve() {
        assert_eq!(fitting(64), 16);
        assert_eq!(fitting(1024), 496);
        assert_eq!(fitting(3), 1);
    }

    #[test]
    fn no_more_than_wanted_are_let_in() {
        assert_eq!(connections(1), 1);
    }
}
