//! How a forward listener reaches elsewhere.

use std::sync::Arc;
use std::time::Duration;

use crate::base::permits::Permits;
use crate::config::url::HttpOrigin;
use crate::gateway::metrics::{ListenerMetrics, RouteMetrics};
use crate::gateway::upstream::lifetimes::Lifetimes;
use crate::net::connect::{ConnectError, Connector};
use crate::net::egress::Egress;
use crate::net::guard::AddressGuard;

/// How elsewhere is reached. Shared by all workers.
#[derive(Debug)]
pub struct WayOut {
    /// headset's own way out.
    pub egress: Egress,
    /// Judges what is dialled.
    pub guard: Arc<AddressGuard>,
    /// For name, TCP and the proxy.
    pub connect: Duration,
    /// How long connections live, and how long a tunnel may be silent.
    pub lifetimes: Lifetimes,
    /// Tunnels that may be open.
    pub tunnels: Arc<Permits>,
    /// Calls and tunnels to elsewhere that may wait for their response; they take a place among
    /// `limits.in_flight`, too, of which calls that take a route keep the rest.
    pub calls: Arc<Permits>,
    /// Counts what the route `forward` does.
    pub metrics: Arc<RouteMetrics>,
    /// Counts what the listener refuses and opens.
    pub listener: Arc<ListenerMetrics>,
}

impl WayOut {
    /// Makes connections to `origin`, which a caller chose.
    ///
    /// # Errors
    /// Where the proxy before it cannot be used.
    pub fn connector(&self, origin: &HttpOrigin) -> Result<Connector, ConnectError> {
        let made = Connector::for_caller(
            origin.clone(),
            self.connect,
            self.egress.clone(),
            self.guard.clone(),
        );
        made.map_err(|error| ConnectError::NoWay {
            host: origin.host.clone(),
            why: error.to_string(),
        })
    }
}
