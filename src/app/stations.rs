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

use crate::app::StartError;
use crate::app::plan::Plan;
use crate::app::worker::{Assignment, Socket};
use crate::base::name::Name;
use crate::config::{self, Bind, SocketAccess};
use crate::modes::Phase;
use crate::net::activity::{Activity, Counts, Quiet};
use crate::net::listen::Bound;
use crate::net::listen::access::{Access, SocketFile};

/// How long no call must have begun on a removed listener before its idle connections are
/// closed, so that none is lost that was on its way.
const GRACE: Duration = Duration::from_secs(2);

/// See the module.
#[derive(Debug, Default)]
pub struct Stations {
    open: Vec<Station>,
    /// Those that were removed, until their last connection has ended.
    removed: Vec<Removed>,
    next: u64,
}

#[derive(Debug)]
struct Removed {
    phase: watch::Sender<Phase>,
    activity: Arc<Activity>,
    quiet: Quiet,
}

#[derive(Debug)]
struct Station {
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
pub enum Place {
    /// Where it stands already.
    Kept(u64),
    /// On a socket of its own.
    New(Box<New>),
}

/// A listener that is bound and served by nobody yet.
#[derive(Debug)]
pub struct New {
    station: Station,
    /// One for each worker.
    handles: Vec<Bound>,
}

impl Place {
    /// The address that was bound; `None` where it stood already.
    pub fn address(&self) -> Option<&Bind> {
        match self {
            Place::New(new) => Some(&new.station.address),
            Place::Kept(_) => None,
        }
    }
}

/// The sockets of new `places`, for each of `workers` workers.
pub fn sockets(places: &mut [Place], workers: usize) -> Vec<Vec<Socket>> {
    let mut lists: Vec<Vec<Socket>> = (0..workers).map(|_| Vec::new()).collect();
    for place in places {
        let Place::New(new) = place else { continue };
        let New { station, handles } = &mut **new;
        for (list, bound) in lists.iter_mut().zip(handles.drain(..)) {
            list.push(Socket {
                listener: station.number,
                name: station.name.clone(),
                bound,
                activity: station.activity.clone(),
                phase: station.phase.subscribe(),
            });
        }
    }
    lists
}

impl Station {
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
                "the mode, owner or group of a listener's socket cannot be changed; the next reload tries again"
            ),
        }
    }
}

impl Stations {
    /// Finds the place of each of `listeners` for `workers` workers, and binds what is
    /// not open yet. Dropping the places closes those again.
    ///
    /// # Errors
    /// With the first address that cannot be listened on.
    pub fn place(
        &mut self,
        listeners: &[config::Listener],
        workers: usize,
    ) -> Result<Vec<Place>, StartError> {
        let mut taken = Vec::new();
        let (open, next) = (&self.open, &mut self.next);
        let mut place = |listener: &config::Listener| {
            let mut open = open.iter();
            let kept = open.find(|station| {
                // Two listeners may both ask for any port; their names tell them apart.
                let any_port = matches!(&station.bind, Bind::Tcp(address) if address.port() == 0);
                station.bind == listener.bind
                    && (!any_port || station.name == listener.name)
                    && !taken.contains(&station.number)
            });
            if let Some(station) = kept {
                taken.push(station.number);
                return Ok(Place::Kept(station.number));
            }
            let key = format!("listener.{}", listener.name);
            let mut bound = super::bind(&listener.bind, &listener.access, &key)?;
            let handles: io::Result<Vec<Bound>> = (0..workers).map(|_| bound.share()).collect();
            *next += 1;
            Ok(Place::New(Box::new(New {
                station: Station {
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
    pub fn settle(&mut self, plan: &Plan, places: Vec<Place>) -> Vec<Assignment> {
        let mut assignments = Vec::new();
        let mut before = std::mem::take(&mut self.open);
        for (planned, place) in plan.listeners.iter().zip(places) {
            let name = planned.config.name.clone();
            let station = match place {
                Place::Kept(number) => {
                    let index = before.iter().position(|station| station.number == number);
                    let Some(index) = index else { continue };
                    let mut station = before.swap_remove(index);
                    station.open_to(&planned.config.access);
                    Station { name, ..station }
                }
                Place::New(new) => new.station,
            };
            assignments.push(Assignment {
                listener: station.number,
                doorman: planned.door.tls.clone(),
                blueprint: planned.blueprint.clone(),
                metrics: planned.metrics.clone(),
                rules: plan.rules.clone(),
                connections: plan.connections.clone(),
            });
            self.open.push(station);
        }
        for station in before {
            tracing::info!(
                listener.name = %station.name,
                listener.address = %station.address,
                "not listening there any more"
            );
            // Before nobody listens on it.
            drop(station.file);
            station.phase.send_replace(Phase::Removed);
            self.removed.push(Removed {
                quiet: Quiet::from(station.activity.counts(), Instant::now()),
                phase: station.phase,
                activity: station.activity,
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
    pub fn counts(&self) -> Counts {
        let open = self.open.iter().map(|station| &station.activity);
        let all = open.chain(self.removed.iter().map(|removed| &removed.activity));
        all.map(|activity| activity.counts()).sum()
    }

    /// The files of Unix sockets; drop them when no more connections are to come.
    pub fn take_files(&mut self) -> Vec<SocketFile> {
        let open = self.open.iter_mut();
        open.filter_map(|station| station.file.take()).collect()
    }

    /// Tells every listener how far headset is on its way out.
    pub fn tell(&self, now: Phase) {
        let open = self.open.iter().map(|station| &station.phase);
        for phase in open.chain(self.removed.iter().map(|removed| &removed.phase)) {
            advance(phase, now);
        }
    }

    /// Each listener by name, with the address that was bound.
    pub fn addresses(&self) -> Vec<(String, Bind)> {
        let named = |station: &Station| (station.name.to_string(), station.address.clone());
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

/// The TCP addresses among `places` that are new.
pub fn new_addresses(places: &[Place]) -> impl Iterator<Item = SocketAddr> + '_ {
    places.iter().filter_map(|place| match place.address()? {
        Bind::Tcp(address) => Some(*address),
        Bind::Unix(_) => None,
    })
}
