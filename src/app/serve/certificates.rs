//! When the certificates of listeners and their local authorities end, for Prometheus: read
//! when it asks, since a certificate is renewed by a changed file, of which nobody else needs
//! to hear.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{GaugeVec, Opts, Registry};

use crate::app::build::Plan;
use crate::base::name::Name;
use crate::net::tls::authority::Authority;
use crate::net::tls::server::TlsAcceptor;

/// See the module; clones are one.
#[derive(Clone, Debug)]
pub struct ListenerCertificates {
    own: GaugeVec,
    local: GaugeVec,
    shown: Arc<Mutex<ShownListeners>>,
}

/// The listeners with a certificate that ends.
#[derive(Debug, Default)]
struct ShownListeners {
    /// Each that speaks TLS.
    own: Vec<(Name, Arc<TlsAcceptor>)>,
    /// Each with a local authority.
    local: Vec<(Name, Arc<Authority>)>,
}

impl ListenerCertificates {
    /// Shows those of no listener in `registry`.
    ///
    /// # Errors
    /// Where it has the family already.
    pub fn register(registry: &Registry) -> Result<ListenerCertificates, prometheus::Error> {
        let own = Opts::new(
            "headset_listener_certificate_expiry_timestamp_seconds",
            "When the certificate ends that a listener presents to callers.",
        );
        let local = Opts::new(
            "headset_local_ca_expiry_timestamp_seconds",
            "When the local authority of a forward listener ends.",
        );
        let certificates = ListenerCertificates {
            own: GaugeVec::new(own, &["listener"])?,
            local: GaugeVec::new(local, &["listener"])?,
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
        *self.shown() = ShownListeners {
            own: listeners.collect(),
            local: plan.authorities(),
        };
    }

    fn shown(&self) -> MutexGuard<'_, ShownListeners> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Collector for ListenerCertificates {
    fn desc(&self) -> Vec<&Desc> {
        [self.own.desc(), self.local.desc()].concat()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let shown = self.shown();
        let own = shown.own.iter().map(|(name, tls)| (name, tls.expires()));
        let local = shown.local.iter().map(|(name, ca)| (name, ca.expires()));
        let mut families = told(&self.own, own);
        families.extend(told(&self.local, local));
        families
    }
}

fn told<'a>(
    family: &GaugeVec,
    ends: impl Iterator<Item = (&'a Name, Option<i64>)>,
) -> Vec<MetricFamily> {
    family.reset();
    for (name, ends) in ends {
        if let Some(ends) = ends {
            let gauge = family.with_label_values(&[name.as_str()]);
            gauge.set(ends as f64);
        }
    }
    family.collect()
}
