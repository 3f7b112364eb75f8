//! The limit of open files, and what fits under it.
//!
//! A process that has used up its descriptors cannot answer its probes, and the
//! kubelet then kills it with every call that it carries. So the soft limit is
//! raised to the hard one (which nothing here suffers from: no `select`), and where
//! even that is low fewer callers and fewer calls are let in. A caller costs one
//! descriptor and each of its calls another, towards the upstream; HTTP/2 callers
//! have many calls each, so both are counted. Idle connections to upstreams are not:
//! they are closed soon, and a call that finds no descriptor fails alone.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Connections of the admin listener: a Prometheus or two, the probes, and people. Where
/// files are few it is an eighth of them.
const ADMIN: u64 = 32;

/// Kept for listeners, runtimes, secrets and logins.
const RESERVE: u64 = 32;

/// Connections that the admin listener may have, by the limit as it is now.
pub fn admin_connections() -> usize {
    let limit = getrlimit(Resource::Nofile).current;
    usize::try_from(limit.map_or(ADMIN, admin_of)).unwrap_or(usize::MAX)
}

fn admin_of(limit: u64) -> u64 {
    (limit / 8).clamp(1, ADMIN)
}

/// How much may be open at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DescriptorLimits {
    /// Connections of callers.
    pub connections: usize,
    /// Calls up to the head of their answer.
    pub in_flight: usize,
    /// Answers past it.
    pub streams: usize,
}

/// Raises the limit, and returns what may be open at a time: what is `wanted`, or
/// less, with a warning, where the limit is too low.
pub fn fit(wanted: DescriptorLimits) -> DescriptorLimits {
    let now = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: now.maximum,
        maximum: now.maximum,
    };
    let limit = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => now.maximum,
        Err(_) => now.current,
    };
    let fit = limit.map_or(wanted, |limit| fitting(limit, wanted));
    if fit != wanted {
        tracing::warn!(
            limits.connections = fit.connections,
            limits.in_flight = fit.in_flight,
            limits.streams = fit.streams,
            "the limit of open files ({}) is too low for `limits.connections`, `in_flight` and \
             `streams` together: fewer callers and calls are let in; raise it (ulimit -n, \
             LimitNOFILE), or lower the keys",
            limit.unwrap_or(u64::MAX)
        );
    }
    fit
}

/// Calls get at most half of a limit that is too low, and of that half those that wait
/// for an answer come first: an answer that finds no stream permit keeps its own.
fn fitting(limit: u64, wanted: DescriptorLimits) -> DescriptorLimits {
    let room =
        usize::try_from(limit.saturating_sub(RESERVE + admin_of(limit))).unwrap_or(usize::MAX);
    let calls = wanted.in_flight.saturating_add(wanted.streams);
    if wanted.connections.saturating_add(calls) <= room {
        return wanted;
    }
    let calls = calls.min(room / 2);
    let in_flight = wanted.in_flight.min(calls).max(1);
    DescriptorLimits {
        connections: wanted.connections.min(room - calls).max(1),
        in_flight,
        streams: wanted.streams.min(calls.saturating_sub(in_flight)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WANTED: DescriptorLimits = DescriptorLimits {
        connections: 10_000,
        in_flight: 1000,
        streams: 2000,
    };

    fn all(fit: DescriptorLimits) -> usize {
        fit.connections + fit.in_flight + fit.streams
    }

    #[test]
    fn callers_and_their_calls_fit_beside_the_reserve() {
        assert_eq!(fitting(13_064, WANTED), WANTED);
        for limit in [64, 1024, 4096, 13_063] {
            let fit = fitting(limit, WANTED);
            assert!(
                all(fit) as u64 <= limit - RESERVE - admin_of(limit),
                "{limit}: {fit:?}"
            );
            assert!(
                fit.connections as u64 >= (limit - RESERVE - admin_of(limit)) / 2,
                "{limit}: {fit:?}"
            );
        }
        let least = fitting(3, WANTED);
        assert_eq!((least.connections, least.in_flight), (1, 1));
    }

    #[test]
    fn no_more_than_wanted_are_let_in() {
        let few = DescriptorLimits {
            connections: 1,
            in_flight: 1,
            streams: 1,
        };
        assert_eq!(fit(few), few);
    }
}
