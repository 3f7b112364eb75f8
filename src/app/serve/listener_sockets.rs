//! The listeners of the process, as the control thread keeps them.
//!
//! One that a reload leaves where it is keeps its socket: it is not bound anew, and no
//! connection that waits to be accepted is lost. What is new is bound before anything
//! changes, since that may fail. One that is gone accepts nothing from then on; what is
//! open on it finishes, and is told to close.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::app::build::Plan;
use crate::app::serve::workers::{Assignment, WorkerSocket};
use crate::base::name::Name;
use crate::config::{self, Bind, SocketAccess};
use crate::modes::Phase;
use crate::net::activity::{Activity, ActivityCounts, QuietPeriod};
use crate::net::listen::access::{Access, SocketFile};
use crate::net::listen::{BindError, BoundSocket};

/// How long no call must have begun on a removed listener before its idle connections are
/// closed, so that none is lost that was on its way.
const GRACE: Duration = Duration::from_secs(2);

/// Why a listener cannot have its socket.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Its address cannot be listened on.
    #[error("{key} cannot be used; stop what listens there, or set {key} to another address")]
    Bind {
        /// The key that names the address.
        key: String,
        /// The address and what the kernel said.
        source: BindError,
    },
    /// Its Unix socket is for somebody who does not exist here.
    #[error(
        "{key}.socket_owner or {key}.socket_group cannot be used; write a number, or a name that exists here"
    )]
    Access {
        /// The listener's table.
        key: String,
        /// What was looked for, and where.
        source: io::Error,
    },
    /// The machine refuses another handle of it.
    #[error("a listener's socket cannot be shared among the workers")]
    Machine(#[from] io::Error),
}

/// A socket at `bind`, open to whom `access` names; `key` is the listener's table.
///
/// # Errors
/// Where the address is taken, or nobody is called as `access` says.
pub fn bind(bind: &Bind, access: &SocketAccess, key: &str) -> Result<BoundSocket, ListenError> {
    let found = Access::resolve(access).map_err(|source| ListenError::Access {
        key: key.to_owned(),
        source,
    });
    BoundSocket::bind(bind, &found?).map_err(|source| ListenError::Bind {
        key: format!("{key}.bind"),
        source,
    })
}

/// See the module.
#[derive(Debug, Default)]
pub struct ListenerSockets {
    open: Vec<ListenerSocket>,
    /// Those that were removed, until their last connection has ended.
    removed: Vec<RemovedListener>,
    next: u64,
}

#[derive(Debug)]
struct RemovedListener {
    phase: watch::Sender<Phase>,
    activity: Arc<Activity>,
    quiet: QuietPeriod,
}

#[derive(Debug)]
struct ListenerSocket {
    /// Never used twice in a process.
    number: u64,
    name: Name,
    /// As configured.
    bind: Bind,
    /// As bound.
    address: Bind,
    access: SocketAccess,
    /// That of a Unix socket; none other is changed or removed.
    file: Option<SocketFile>,
    activity: Arc<Activity>,
    phase: watch::Sender<Phase>,
}

/// Where a listener will stand.
#[derive(Debug)]
pub enum SocketPlace {
    /// Where it stands already.
    Kept(u64),
    /// On a socket of its own.
    New(Box<NewListener>),
}

/// A listener that is bound and served by nobody yet.
#[derive(Debug)]
pub struct NewListener {
    listener_socket: ListenerSocket,
    /// One for each worker.
    handles: Vec<BoundSocket>,
}

impl SocketPlace {
    /// The address that was bound; `None` where it stood already.
    pub fn address(&self) -> Option<&Bind> {
        match self {
            SocketPlace::New(new) => Some(&new.listener_socket.address),
            SocketPlace::Kept(_) => None,
        }
    }
}

/// The sockets of new `places`, for each of `workers` workers.
pub fn sockets(places: &mut [SocketPlace], workers: usize) -> Vec<Vec<WorkerSocket>> {
    let mut lists: Vec<Vec<WorkerSocket>> = (0..workers).map(|_| Vec::new()).collect();
    for place in places {
        let SocketPlace::New(new) = place else {
            continue;
        };
        let NewListener {
            listener_socket,
            handles,
        } = &mut **new;
        for (list, bound) in lists.iter_mut().zip(handles.drain(..)) {
            list.push(WorkerSocket {
                listener: listener_socket.number,
                name: listener_socket.name.clone(),
                bound,
                activity: listener_socket.activity.clone(),
                phase: listener_socket.phase.subscribe(),
            });
        }
    }
    lists
}

impl ListenerSocket {
    /// Lets connect whom `access` names from now on.
    fn open_to(&mut self, access: &SocketAccess) {
        let Some(file) = &self.file else { return };
        if self.access == *access {
            return;
        }
        let granted = Access::resolve(access).and_then(|access| file.grant(&access));
        match granted {
            Ok(()) => self.access.clone_from(access),
            Err(error) => tracing::error!(
                listener.name = %self.name,
                error.detail = %error,
                "the mode, owner or group of a listener's socket could not be changed; the next reload tries again"
            ),
        }
    }
}

impl ListenerSockets {
    /// Finds the place of each of `listeners` for `workers` workers, and binds what is
    /// not open yet. Dropping the places closes those again.
    ///
    /// # Errors
    /// With the first address that cannot be listened on.
    pub fn place(
        &mut self,
        listeners: &[config::ListenerConfig],
        workers: usize,
    ) -> Result<Vec<SocketPlace>, ListenError> {
        let mut taken = Vec::new();
        let (open, next) = (&self.open, &mut self.next);
        let mut place = |listener: &config::ListenerConfig| {
            let mut open = open.iter();
            let kept = open.find(|listener_socket| {
                // Two listeners may both ask for any port; their names tell them apart.
                let any_port =
                    matches!(&listener_socket.bind, Bind::Tcp(address) if address.port() == 0);
                listener_socket.bind == listener.bind
                    && (!any_port || listener_socket.name == listener.name)
                    && !taken.contains(&listener_socket.number)
            });
            if let Some(listener_socket) = kept {
                taken.push(listener_socket.number);
                return Ok(SocketPlace::Kept(listener_socket.number));
            }
            let key = format!("listener.{}", listener.name);
            let mut bound = bind(&listener.bind, &listener.access, &key)?;
            let handles: io::Result<Vec<BoundSocket>> =
                (0..workers).map(|_| bound.share()).collect();
            *next += 1;
            Ok(SocketPlace::New(Box::new(NewListener {
                listener_socket: ListenerSocket {
                    number: *next,
                    name: listener.name.clone(),
                    bind: listener.bind.clone(),
                    address: bound.address()?,
                    access: listener.access.clone(),
                    file: bound.take_file(),
                    activity: Arc::default(),
                    phase: watch::channel(Phase::Serving).0,
                },
                handles: handles?,
            })))
        };
        listeners.iter().map(&mut place).collect()
    }

    /// From now on the listeners of `plan` stand at `places`. Yields what each worker
    /// serves.
    pub fn settle(&mut self, plan: &Plan, places: Vec<SocketPlace>) -> Vec<Assignment> {
        let mut assignments = Vec::new();
        let mut before = std::mem::take(&mut self.open);
        for (planned, place) in plan.listeners.iter().zip(places) {
            let name = planned.config.name.clone();
            let listener_socket = match place {
                SocketPlace::Kept(number) => {
                    let index = before
                        .iter()
                        .position(|listener_socket| listener_socket.number == number);
                    let Some(index) = index else { continue };
                    let mut listener_socket = before.swap_remove(index);
                    listener_socket.open_to(&planned.config.access);
                    ListenerSocket {
                        name,
                        ..listener_socket
                    }
                }
                SocketPlace::New(new) => new.listener_socket,
            };
            assignments.push(Assignment {
                listener: listener_socket.number,
                acceptor: planned.listener_auth.tls.clone(),
                blueprint: planned.blueprint.clone(),
                metrics: planned.metrics.clone(),
                rules: planned.rules.clone(),
                connections: plan.connections.clone(),
            });
            self.open.push(listener_socket);
        }
        for listener_socket in before {
            tracing::info!(
                listener.name = %listener_socket.name,
                listener.address = %listener_socket.address,
                "no longer listening"
            );
            // Before nobody listens on it.
            drop(listener_socket.file);
            listener_socket.phase.send_replace(Phase::Removed);
            self.removed.push(RemovedListener {
                quiet: QuietPeriod::from(listener_socket.activity.counts(), Instant::now()),
                phase: listener_socket.phase,
                activity: listener_socket.activity,
            });
        }
        assignments
    }

    /// Closes idle connections of removed listeners on which no call has begun for a
    /// while, and forgets those that have none left.
    pub fn sweep(&mut self) {
        let now = Instant::now();
        self.removed.retain_mut(|removed| {
            let quiet = removed.quiet.look(removed.activity.counts(), now);
            if quiet >= GRACE {
                advance(&removed.phase, Phase::Closing);
            }
            // Each worker that serves a connection of it listens.
            !removed.phase.is_closed()
        });
    }

    /// What went on on all listeners, the removed ones included, until now.
    pub fn counts(&self) -> ActivityCounts {
        let open = self
            .open
            .iter()
            .map(|listener_socket| &listener_socket.activity);
        let all = open.chain(self.removed.iter().map(|removed| &removed.activity));
        all.map(|activity| activity.counts()).sum()
    }

    /// The files of Unix sockets; drop them when no more connections are to come.
    pub fn take_files(&mut self) -> Vec<SocketFile> {
        let open = self.open.iter_mut();
        open.filter_map(|listener_socket| listener_socket.file.take())
            .collect()
    }

    /// Tells every listener how far headset is on its way out.
    pub fn tell(&self, now: Phase) {
        let open = self
            .open
            .iter()
            .map(|listener_socket| &listener_socket.phase);
        for phase in open.chain(self.removed.iter().map(|removed| &removed.phase)) {
            advance(phase, now);
        }
    }

    /// Each listener by name, with the address that was bound.
    pub fn addresses(&self) -> Vec<(String, Bind)> {
        let named = |listener_socket: &ListenerSocket| {
            (
                listener_socket.name.to_string(),
                listener_socket.address.clone(),
            )
        };
        self.open.iter().map(named).collect()
    }
}

/// Phases only ever advance.
fn advance(phase: &watch::Sender<Phase>, now: Phase) {
    phase.send_if_modified(|phase| {
        let later = now > *phase;
        *phase = now.max(*phase);
        later
    });
}

/// The addresses of `listeners` and of the `admin` listener: what headset must not dial.
pub fn own_addresses(listeners: &[(String, Bind)], admin: SocketAddr) -> Vec<SocketAddr> {
    let tcp = listeners.iter().filter_map(|(_, bind)| match bind {
        Bind::Tcp(address) => Some(*address),
        Bind::Unix(_) => None,
    });
    tcp.chain([admin]).collect()
}

/// The TCP addresses among `places` that are new.
pub fn new_addresses(places: &[SocketPlace]) -> impl Iterator<Item = SocketAddr> + '_ {
    places.iter().filter_map(|place| match place.address()? {
        Bind::Tcp(address) => Some(*address),
        Bind::Unix(_) => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::build::testing::config;

    fn listeners() -> Vec<config::ListenerConfig> {
        config("[route.a]\nmatch.path = \"/\"\nupstream = \"https://cms.example.com\"\n").listeners
    }

    /// Settles `places` as if a plan had them.
    fn settle(sockets: &mut ListenerSockets, places: Vec<SocketPlace>) {
        for place in places {
            if let SocketPlace::New(new) = place {
                sockets.open.push(new.listener_socket);
            }
        }
    }

    fn kept(places: &[SocketPlace]) -> Vec<Option<u64>> {
        let number = |place: &SocketPlace| match place {
            SocketPlace::Kept(number) => Some(*number),
            SocketPlace::New(_) => None,
        };
        places.iter().map(number).collect()
    }

    #[test]
    fn a_listener_with_the_same_address_keeps_its_socket() {
        let mut sockets = ListenerSockets::default();
        let any = listeners();
        let first = sockets.place(&any, 1).unwrap();
        assert_eq!(kept(&first), [None]);
        settle(&mut sockets, first);
        assert_eq!(kept(&sockets.place(&any, 1).unwrap()), [Some(1)]);
        // Any port under another name is another one.
        let mut renamed = any.clone();
        renamed[0].name = Name::parse("other").unwrap();
        assert_eq!(kept(&sockets.place(&renamed, 1).unwrap()), [None]);
        // What one has taken, another does not get.
        let both = [any[0].clone(), any[0].clone()];
        assert_eq!(kept(&sockets.place(&both, 1).unwrap()), [Some(1), None]);
    }

    #[test]
    fn an_address_that_is_taken_is_told_with_its_key() {
        let mut sockets = ListenerSockets::default();
        let mut all = listeners();
        let first = sockets.place(&all, 1).unwrap();
        all[0].bind = first[0].address().unwrap().clone();
        let error = sockets.place(&all, 1).unwrap_err();
        assert!(matches!(error, ListenError::Bind { key, .. } if key == "listener.app.bind"));
    }

    #[test]
    fn what_headset_listens_on_are_its_tcp_addresses() {
        let admin = SocketAddr::from(([127, 0, 0, 1], 9464));
        let tcp = SocketAddr::from(([127, 0, 0, 1], 8080));
        let all = [
            ("app".to_owned(), Bind::Tcp(tcp)),
            ("local".to_owned(), Bind::Unix("/run/headset.sock".into())),
        ];
        assert_eq!(own_addresses(&all, admin), [tcp, admin]);
    }
}
