//! A headset that serves.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::watch;

use crate::admin::health::Health;
use crate::admin::view::AdminView;
use crate::app::build::{Plan, PlannedCredential, ProcessState};
use crate::app::change::retired::Retired;
use crate::app::serve::authority_reminders::ListenerAuthorities;
use crate::app::serve::certificates::ListenerCertificates;
use crate::app::serve::gauges::BuildGauges;
use crate::app::serve::listener_sockets::{ListenerSockets, own_addresses};
use crate::app::serve::workers::Workers;
use crate::modes::CurrentService;

/// A headset that serves, and all that a reload changes of it.
pub struct Running {
    /// What is in use.
    pub plan: Plan,
    /// The listeners.
    pub listener_sockets: ListenerSockets,
    /// The workers.
    pub workers: Workers,
    /// What is out of use.
    pub retired: Retired,
    /// What outlives configurations.
    pub process_state: ProcessState,
    /// What metrics say of the configuration in use.
    pub gauges: BuildGauges,
    /// Shows when the certificates of listeners end.
    pub certificates: ListenerCertificates,
    /// Answers the probes.
    pub health: Arc<Health>,
    /// What the admin listener sees of the plan.
    pub admin_view: Arc<ArcSwap<AdminView>>,
    /// Tells who watches the credentials that they are others.
    pub credentials: watch::Sender<Vec<PlannedCredential>>,
    /// Tells who watches the local authorities that they are others.
    pub authorities: watch::Sender<ListenerAuthorities>,
    /// The address of the admin listener.
    pub admin: SocketAddr,
    /// By what the admin listener and the admin socket are served.
    pub admin_listeners: Vec<Rc<CurrentService>>,
}

impl Running {
    /// Lets nothing dial the listeners that are open now.
    pub fn learn_addresses(&self) {
        let own = own_addresses(&self.listener_sockets.addresses(), self.admin);
        self.process_state.own().store(Arc::new(own));
    }
}
