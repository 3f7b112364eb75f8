//! What a replica tells people about the fleet, and the name by which it is told of itself.

use std::sync::OnceLock;
use std::time::Duration;

use super::replica::ReplicaState;
use crate::base::time::{Deadline, Moment};
use crate::credential::fleet::record::FleetView;
use crate::credential::shared_view::{LeaseView, SharedView};

/// Longer names of hosts are cut: what stands in the store is short.
const HOST_MOST: usize = 64;

/// What a replica saw of the record last; none of it decides anything.
#[derive(Debug, Default)]
pub(super) struct RecordSeen {
    /// The generation that was published.
    pub(super) published: u64,
    /// The highest that was rejected.
    pub(super) rejected: u64,
    lease: Option<(String, Deadline)>,
}

impl RecordSeen {
    /// The replica has read `view`.
    pub(super) fn read(&mut self, view: &FleetView, now: Moment) {
        self.published = view.generation;
        self.rejected = view.rejected;
        self.lease = (view.lease.as_ref()).and_then(|(token, left)| {
            Some((replica_of(token)?.to_owned(), Deadline::new(now, *left)))
        });
    }

    /// The replica itself was given the lease.
    pub(super) fn leased(&mut self, token: &str, life: Duration, now: Moment) {
        let replica = replica_of(token).unwrap_or_default();
        self.lease = Some((replica.to_owned(), Deadline::new(now, life)));
    }

    /// The lease that this replica had has ended.
    pub(super) fn lease_ended(&mut self) {
        self.lease = None;
    }
}

impl ReplicaState {
    /// What people are shown at `now`.
    pub(super) fn shared_view(&self, now: Moment) -> SharedView {
        let lease = self.seen.lease.as_ref();
        let lease = lease.filter(|(_, until)| !until.passed(now));
        SharedView {
            generation: self.held.as_ref().map_or(0, |held| held.generation),
            published: self.seen.published,
            rejected: self.seen.rejected,
            lease: lease.and_then(|(replica, until)| {
                Some(LeaseView {
                    replica: replica.clone(),
                    until_ms: until.wall_ms()?,
                })
            }),
        }
    }
}

/// The name of this replica: its host and the number of its process. In Kubernetes the host is
/// the pod.
pub(super) fn own_name() -> &'static str {
    static NAME: OnceLock<String> = OnceLock::new();
    NAME.get_or_init(|| {
        let system = rustix::system::uname();
        let host = system.nodename().to_string_lossy();
        let host: String = host
            .chars()
            .filter(|c| is_plain(*c))
            .take(HOST_MOST)
            .collect();
        format!("{host}:{}", std::process::id())
    })
}

/// Whose the `token` of a lease is: what stands before its random word. It comes from the store,
/// and goes into pages: a name or nothing.
fn replica_of(token: &str) -> Option<&str> {
    let (replica, _) = token.rsplit_once(':')?;
    let is_name =
        replica.len() <= HOST_MOST + 24 && replica.chars().all(|c| is_plain(c) || c == ':');
    is_name.then_some(replica)
}

fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_says_whose_it_is_and_what_else_it_holds_is_not_shown() {
        let name = own_name();
        assert_eq!(replica_of(&format!("{name}:0af3")), Some(name));
        for bad in [
            "",
            "0af3",
            "<b>:0af3",
            "pod 1:12:0af3",
            &format!("{}:0a", "x".repeat(99)),
        ] {
            assert_eq!(replica_of(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_lease_is_shown_while_it_lasts() {
        let at = |seconds: u64| Moment {
            wall_ms: 1_800_000_000_000 + seconds as i64 * 1000,
            boot: Duration::from_secs(seconds),
        };
        let mut state = ReplicaState::default();
        let view = FleetView {
            generation: 7,
            rejected: 6,
            lease: Some(("pod-1:12:0af3".into(), Duration::from_secs(20))),
            ..FleetView::default()
        };
        state.seen.read(&view, at(0));
        let shown = state.shared_view(at(19));
        assert_eq!(
            (shown.generation, shown.published, shown.rejected),
            (0, 7, 6)
        );
        let lease = shown.lease.unwrap();
        assert_eq!(
            (lease.replica.as_str(), lease.until_ms),
            ("pod-1:12", 1_800_000_020_000)
        );
        assert_eq!(state.shared_view(at(21)).lease, None);
    }
}
