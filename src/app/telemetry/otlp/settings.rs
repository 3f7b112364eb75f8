//! What the variables of OpenTelemetry say (OpenTelemetry specification, "Environment
//! variables"; OTLP exporter).
//!
//! As the specification asks, a value that cannot be used is told and otherwise as good as
//! none; an empty one is none.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use percent_encoding::percent_decode_str;

use crate::base::trace::TraceId;
use crate::config::url::HttpUrl;

/// Where and how traces are sent.
#[derive(Clone, Debug)]
pub(super) struct OtlpSettings {
    /// The whole URL.
    pub(super) endpoint: HttpUrl,
    /// Authorities to trust instead of the machine's.
    pub(super) ca: Option<Arc<Path>>,
    /// Further fields, which may hold a secret; they are marked sensitive.
    pub(super) headers: HeaderMap,
    /// For one request.
    pub(super) timeout: Duration,
    /// How often what waits is sent.
    pub(super) delay: Duration,
    /// Spans that may wait.
    pub(super) queue: usize,
    /// Spans of one request at most.
    pub(super) batch: usize,
    /// What is told of this process.
    pub(super) resource: Vec<(String, String)>,
    /// Which traces are recorded.
    pub(super) sampler: Sampler,
}

/// Which traces are recorded.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Sampler {
    /// Of those that begin here, which share.
    pub(super) share: f64,
    /// Whether a caller that records or does not record its own decides for it.
    pub(super) by_parent: bool,
}

impl Sampler {
    /// Whether `trace` is recorded, whose parent says this of it, where it has one.
    pub(super) fn samples(&self, trace: TraceId, parent: Option<bool>) -> bool {
        match parent.filter(|_| self.by_parent) {
            Some(sampled) => sampled,
            None => self.takes(trace),
        }
    }

    /// By the trace's id, so that everybody with the same share decides alike.
    fn takes(&self, trace: TraceId) -> bool {
        let mut low = [0; 8];
        low.copy_from_slice(&trace.0[8..]);
        let bound = self.share * (1_u64 << 63) as f64;
        ((u64::from_be_bytes(low) >> 1) as f64) < bound
    }
}

impl OtlpSettings {
    /// Reads them by `variable`; `None` where they ask for no traces. What cannot be used is
    /// told beside, without its value, which may be a secret.
    pub(super) fn read(
        variable: impl Fn(&str) -> Option<String>,
    ) -> (Option<OtlpSettings>, Vec<String>) {
        let mut reading = VariableReading {
            variable,
            warnings: Vec::new(),
        };
        let settings = reading.settings();
        (settings, reading.warnings)
    }
}

struct VariableReading<F> {
    variable: F,
    warnings: Vec<String>,
}

impl<F: Fn(&str) -> Option<String>> VariableReading<F> {
    fn get(&self, name: &str) -> Option<String> {
        let value = (self.variable)(name)?;
        let value = value.trim();
        (!value.is_empty()).then(|| value.to_owned())
    }

    /// The one for traces, or else that for all signals.
    fn of_otlp(&self, what: &str) -> Option<String> {
        self.get(&format!("OTEL_EXPORTER_OTLP_TRACES_{what}"))
            .or_else(|| self.get(&format!("OTEL_EXPORTER_OTLP_{what}")))
    }

    fn settings(&mut self) -> Option<OtlpSettings> {
        let disabled = self.get("OTEL_SDK_DISABLED");
        if disabled.is_some_and(|value| value.eq_ignore_ascii_case("true")) {
            return None;
        }
        let own = self.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT");
        let base = self.get("OTEL_EXPORTER_OTLP_ENDPOINT");
        match self.get("OTEL_TRACES_EXPORTER").as_deref() {
            None if own.is_none() && base.is_none() => return None,
            None | Some("otlp") => {}
            Some("none") => return None,
            Some(_) => {
                self.warn(
                    "OTEL_TRACES_EXPORTER",
                    "there are no traces; write otlp or none",
                );
                return None;
            }
        }
        match self.of_otlp("PROTOCOL").as_deref() {
            None | Some("http/json" | "http/protobuf") => {}
            Some(_) => {
                self.warn(
                    "OTEL_EXPORTER_OTLP_PROTOCOL",
                    "there are no traces, since headset sends OTLP over HTTP as JSON only; write \
                     http/json, and an endpoint for that (port 4318)",
                );
                return None;
            }
        }
        let base = base.unwrap_or_else(|| "http://localhost:4318".to_owned());
        let url = own.unwrap_or_else(|| format!("{}/v1/traces", base.trim_end_matches('/')));
        let Ok(endpoint) = HttpUrl::parse(&url) else {
            self.warn(
                "OTEL_EXPORTER_OTLP_ENDPOINT",
                "there are no traces; write a URL such as http://127.0.0.1:4318",
            );
            return None;
        };
        let batch = self.number("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", 512).max(1);
        Some(OtlpSettings {
            endpoint,
            ca: self
                .of_otlp("CERTIFICATE")
                .map(|path| Path::new(&path).into()),
            headers: self.headers(),
            timeout: self.millis(
                "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT",
                "OTEL_EXPORTER_OTLP_TIMEOUT",
                10_000,
            ),
            delay: self.millis("OTEL_BSP_SCHEDULE_DELAY", "OTEL_BSP_SCHEDULE_DELAY", 5000),
            queue: self.number("OTEL_BSP_MAX_QUEUE_SIZE", 2048).max(batch),
            batch,
            resource: self.resource(),
            sampler: self.sampler(),
        })
    }

    fn warn(&mut self, name: &str, what: &str) {
        self.warnings.push(format!("{name} cannot be used: {what}"));
    }

    fn number(&mut self, name: &str, default: usize) -> usize {
        let Some(text) = self.get(name) else {
            return default;
        };
        text.parse().unwrap_or_else(|_| {
            self.warn(name, &format!("it is {default}; write a whole number"));
            default
        })
    }

    fn millis(&mut self, first: &str, second: &str, default: usize) -> Duration {
        let name = if self.get(first).is_some() {
            first
        } else {
            second
        };
        Duration::from_millis(self.number(name, default).max(1) as u64)
    }

    /// `name=value` pairs with commas between them, percent-encoded (W3C Baggage).
    fn pairs(&mut self, name: &str, text: &str) -> Vec<(String, String)> {
        let mut pairs = Vec::new();
        for pair in text
            .split(',')
            .map(str::trim)
            .filter(|pair| !pair.is_empty())
        {
            let parts = pair.split_once('=').and_then(|(key, value)| {
                let value = percent_decode_str(value.trim()).decode_utf8().ok()?;
                Some((key.trim().to_owned(), value.into_owned()))
            });
            match parts {
                Some(parts) if !parts.0.is_empty() => pairs.push(parts),
                _ => self.warn(
                    name,
                    "one of its pairs is left out; write name=value,name=value",
                ),
            }
        }
        pairs
    }

    fn headers(&mut self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let Some(text) = self.of_otlp("HEADERS") else {
            return headers;
        };
        for (name, value) in self.pairs("OTEL_EXPORTER_OTLP_HEADERS", &text) {
            let name = HeaderName::from_bytes(name.as_bytes());
            match (name, HeaderValue::from_str(&value)) {
                (Ok(name), Ok(mut value)) => {
                    value.set_sensitive(true);
                    headers.insert(name, value);
                }
                _ => self.warn("OTEL_EXPORTER_OTLP_HEADERS", "one of its pairs is no field"),
            }
        }
        headers
    }

    fn resource(&mut self) -> Vec<(String, String)> {
        let text = self.get("OTEL_RESOURCE_ATTRIBUTES").unwrap_or_default();
        let mut resource = self.pairs("OTEL_RESOURCE_ATTRIBUTES", &text);
        let mut set = |key: &str, value: String, over: bool| {
            let known = resource.iter_mut().find(|(known, _)| known == key);
            match known {
                Some((_, kept)) if over => *kept = value,
                Some(_) => {}
                None => resource.push((key.to_owned(), value)),
            }
        };
        match self.get("OTEL_SERVICE_NAME") {
            Some(name) => set("service.name", name, true),
            None => set("service.name", "headset".to_owned(), false),
        }
        set(
            "service.version",
            env!("CARGO_PKG_VERSION").to_owned(),
            false,
        );
        resource
    }

    fn sampler(&mut self) -> Sampler {
        let name = self.get("OTEL_TRACES_SAMPLER");
        let name = name.as_deref().unwrap_or("parentbased_always_on");
        let by_parent = name.starts_with("parentbased_");
        let share = match name.trim_start_matches("parentbased_") {
            "always_on" => 1.0,
            "always_off" => 0.0,
            "traceidratio" => {
                let text = self.get("OTEL_TRACES_SAMPLER_ARG");
                let share = text.map_or(Ok(1.0), |text| text.parse::<f64>());
                share
                    .ok()
                    .filter(|share| (0.0..=1.0).contains(share))
                    .unwrap_or_else(|| {
                        self.warn(
                            "OTEL_TRACES_SAMPLER_ARG",
                            "it is 1; write a share from 0 to 1",
                        );
                        1.0
                    })
            }
            _ => {
                self.warn(
                    "OTEL_TRACES_SAMPLER",
                    "it is parentbased_always_on; write that, always_on, always_off, traceidratio, \
                     parentbased_always_off or parentbased_traceidratio",
                );
                return Sampler {
                    share: 1.0,
                    by_parent: true,
                };
            }
        };
        Sampler { share, by_parent }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> (Option<OtlpSettings>, Vec<String>) {
        OtlpSettings::read(|name| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn without_an_endpoint_there_are_no_traces() {
        assert!(read(&[]).0.is_none());
        assert!(read(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "")]).0.is_none());
        let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318/");
        for off in [
            ("OTEL_SDK_DISABLED", "TRUE"),
            ("OTEL_TRACES_EXPORTER", "none"),
        ] {
            assert!(read(&[endpoint, off]).0.is_none(), "{off:?}");
        }
        let (on, warnings) = read(&[("OTEL_TRACES_EXPORTER", "otlp")]);
        assert_eq!(
            on.unwrap().endpoint.to_string(),
            "http://localhost:4318/v1/traces"
        );
        assert_eq!(warnings, Vec::<String>::new());
    }

    #[test]
    fn the_endpoint_of_traces_is_taken_as_it_is() {
        let of = |variables: &[(&str, &str)]| read(variables).0.unwrap().endpoint.to_string();
        let base = (
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            "https://collector.example.com/otlp/",
        );
        assert_eq!(of(&[base]), "https://collector.example.com/otlp/v1/traces");
        let own = (
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
            "http://127.0.0.1:4318/x",
        );
        assert_eq!(of(&[base, own]), "http://127.0.0.1:4318/x");
    }

    #[test]
    fn what_cannot_be_used_is_told_without_its_value() {
        let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318");
        for (name, value, traces) in [
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc-hunter2", false),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "hunter2", false),
            ("OTEL_TRACES_EXPORTER", "zipkin-hunter2", false),
            ("OTEL_TRACES_SAMPLER", "hunter2", true),
            ("OTEL_BSP_SCHEDULE_DELAY", "hunter2", true),
            ("OTEL_EXPORTER_OTLP_HEADERS", "hunter2", true),
            ("OTEL_EXPORTER_OTLP_HEADERS", "x y=hunter2", true),
        ] {
            let (settings, warnings) = read(&[(name, value), endpoint]);
            assert_eq!(settings.is_some(), traces, "{name}");
            assert_eq!(warnings.len(), 1, "{name}: {warnings:?}");
            assert!(warnings[0].starts_with(name), "{warnings:?}");
            assert!(!warnings[0].contains("hunter2"), "{warnings:?}");
        }
    }

    #[test]
    fn fields_and_attributes_are_read_as_baggage_is() {
        let (settings, warnings) = read(&[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318"),
            (
                "OTEL_EXPORTER_OTLP_HEADERS",
                "Authorization=Bearer%20hunter2, x-a=1",
            ),
            (
                "OTEL_RESOURCE_ATTRIBUTES",
                "service.name=crm,deployment.environment.name=a%2Cb",
            ),
            ("OTEL_SERVICE_NAME", "crm-headset"),
        ]);
        let settings = settings.unwrap();
        assert_eq!(warnings, Vec::<String>::new());
        assert_eq!(settings.headers["authorization"], "Bearer hunter2");
        assert!(!format!("{settings:?}").contains("hunter2"));
        let resource: Vec<(&str, &str)> = settings
            .resource
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str()))
            .collect();
        assert_eq!(
            resource[..2],
            [
                ("service.name", "crm-headset"),
                ("deployment.environment.name", "a,b")
            ]
        );
    }

    #[test]
    fn a_caller_decides_for_its_trace_unless_the_sampler_looks_at_ids_alone() {
        let sampler = |name, share| {
            let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318");
            let variables = [
                endpoint,
                ("OTEL_TRACES_SAMPLER", name),
                ("OTEL_TRACES_SAMPLER_ARG", share),
            ];
            read(&variables).0.unwrap().sampler
        };
        let (low, high) = (TraceId([0x11; 16]), TraceId([0xee; 16]));
        let half = sampler("parentbased_traceidratio", "0.5");
        assert_eq!(
            (half.samples(low, None), half.samples(high, None)),
            (true, false)
        );
        assert_eq!(
            (
                half.samples(low, Some(false)),
                half.samples(high, Some(true))
            ),
            (false, true)
        );
        let by_id = sampler("traceidratio", "0.5");
        assert_eq!(
            (
                by_id.samples(low, Some(false)),
                by_id.samples(high, Some(true))
            ),
            (true, false)
        );
        assert!(sampler("always_on", "").samples(high, Some(false)));
        assert!(!sampler("always_off", "").samples(low, Some(true)));
        assert!(sampler("", "").samples(high, None), "the default");
    }
}
