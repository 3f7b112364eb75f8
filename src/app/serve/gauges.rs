//! What Prometheus learns about the process and its configuration.

use prometheus::{Gauge, IntGauge, IntGaugeVec, Opts, Registry};

/// The gauges that a reload moves.
#[derive(Debug)]
pub struct BuildGauges {
    config: IntGaugeVec,
    hash: String,
    successful: IntGauge,
    succeeded: Gauge,
}

impl BuildGauges {
    /// Registers `headset_build_info`, what is known of the configuration `hash`, which
    /// was read at `now` (seconds since the epoch), and `process_*`.
    ///
    /// # Errors
    /// Where `registry` has one of them already.
    pub fn register(
        registry: &Registry,
        hash: &str,
        now: f64,
    ) -> Result<BuildGauges, prometheus::Error> {
        let info = |name: &str, help: &str, label: &str, value: &str| {
            let gauge = IntGaugeVec::new(Opts::new(name, help), &[label])?;
            gauge.with_label_values(&[value]).set(1);
            registry.register(Box::new(gauge.clone()))?;
            Ok::<_, prometheus::Error>(gauge)
        };
        info(
            "headset_build_info",
            "Which headset this is.",
            "version",
            env!("CARGO_PKG_VERSION"),
        )?;
        let about = BuildGauges {
            config: info(
                "headset_config_info",
                "A digest of the configuration in use, secrets by reference.",
                "hash",
                hash,
            )?,
            hash: hash.into(),
            successful: IntGauge::new(
                "headset_config_last_reload_successful",
                "1 where the configuration as it was last read is in use, 0 where it was refused.",
            )?,
            succeeded: Gauge::new(
                "headset_config_last_reload_success_timestamp_seconds",
                "When the configuration in use was read.",
            )?,
        };
        about.successful.set(1);
        about.succeeded.set(now);
        registry.register(Box::new(about.successful.clone()))?;
        registry.register(Box::new(about.succeeded.clone()))?;
        #[cfg(target_os = "linux")]
        registry.register(Box::new(
            prometheus::process_collector::ProcessCollector::for_self(),
        ))?;
        Ok(about)
    }

    /// The configuration `hash` is in use since `now`, in seconds since the epoch.
    pub fn reloaded(&mut self, hash: &str, now: f64) {
        if self.hash != hash {
            let _ = self.config.remove_label_values(&[&self.hash]);
            self.config.with_label_values(&[hash]).set(1);
            self.hash = hash.into();
        }
        self.successful.set(1);
        self.succeeded.set(now);
    }

    /// A configuration was refused.
    pub fn refused(&self) {
        self.successful.set(0);
    }
}
