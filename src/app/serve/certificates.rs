//! When the certificates of listeners end, for Prometheus: read when it asks, since a
//! certificate is renewed by a changed file, of which nobody else needs to hear.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{GaugeVec, Opts, Registry};

use crate::app::build::Plan;
use crate::base::name::Name;
use crate::net::tls::server::TlsAcceptor;

/// See the module; clones are one.
#[derive(Clone, Debug)]
pub struct ListenerCertificates {
    family: GaugeVec,
    shown: Arc<Mutex<ShownListeners>>,
}

/// Each listener that speaks TLS.
type ShownListeners = Vec<(Name, Arc<TlsAcceptor>)>;

impl ListenerCertificates {
    /// Shows those of no listener in `registry`.
    ///
    /// # Errors
    /// Where it has the family already.
    pub fn register(registry: &Registry) -> Result<ListenerCertificates, prometheus::Error> {
        let opts = Opts::new(
            "headset_listener_certificate_expiry_timestamp_seconds",
            "When the certificate ends that a listener presents to callers.",
        );
        let certificates = ListenerCertificates {
            family: GaugeVec::new(opts, &["listener"])?,
            shown: Arc::default(),
        };
        registry.register(Box::new(certificates.clone()))?;
        Ok(certificates)
    }

    /// From now on shows those of `plan`.
    pub fn show(&self, plan: &Plan) {
        let listeners = plan.listeners.iter().filter_map(|listener| {
            let tls = listener.listener_auth.tls.clone()?;
            Some((listener.config.name.clone(), tls))
        });
        *self.shown() = listeners.collect();
    }

    fn shown(&self) -> MutexGuard<'_, ShownListeners> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Collector for ListenerCertificates {
    fn desc(&self) -> Vec<&Desc> {
        self.family.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let shown = self.shown();
        self.family.reset();
        for (name, acceptor) in shown.iter() {
            if let Some(ends) = acceptor.expires() {
                let gauge = self.family.with_label_values(&[name.as_str()]);
                gauge.set(ends as f64);
            }
        }
        self.family.collect()
    }
}
