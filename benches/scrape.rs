//! What a scrape costs: gathering and writing a thousand series, as `/metrics` does.
//!
//!   cargo bench --bench scrape
//!
//! It says how many series and octets there were, and the median and the slowest of the rounds.
//! A figure of a busy machine says little.

use std::io::Write as _;
use std::time::{Duration, Instant};

use headset::base::name::Name;
use headset::gateway::metrics::Families;
use prometheus::{Encoder as _, Registry, TextEncoder};

const SERIES: usize = 1000;
const ROUNDS: usize = 200;

#[allow(
    clippy::disallowed_methods,
    reason = "it measures, and nothing expires by it"
)]
fn now() -> Instant {
    Instant::now()
}

fn scrape(registry: &Registry) -> (Duration, Vec<u8>) {
    let begun = now();
    let mut text = Vec::new();
    TextEncoder::new()
        .encode(&registry.gather(), &mut text)
        .expect("it is written");
    (now() - begun, text)
}

fn series(text: &[u8]) -> usize {
    let lines = text.split(|byte| *byte == b'\n');
    lines
        .filter(|line| !line.is_empty() && !line.starts_with(b"#"))
        .count()
}

fn main() {
    let registry = Registry::new();
    let families = Families::register(&registry).expect("they are new");
    let mut routes = Vec::new();
    while series(&scrape(&registry).1) < SERIES {
        let name = Name::parse(&format!("route{}", routes.len())).expect("it is one");
        routes.push(families.route(&name));
    }
    for route in &routes {
        route.duration.observe(Duration::from_millis(12));
        route.overhead.observe(Duration::from_micros(70));
    }
    let mut rounds: Vec<(Duration, Vec<u8>)> = (0..ROUNDS).map(|_| scrape(&registry)).collect();
    rounds.sort_by_key(|(took, _)| *took);
    let (median, text) = &rounds[ROUNDS / 2];
    let told = writeln!(
        std::io::stdout(),
        "{} series of {} routes, {} octets: median {median:?}, slowest {:?} of {ROUNDS}",
        series(text),
        routes.len(),
        text.len(),
        rounds[ROUNDS - 1].0,
    );
    told.expect("stdout is there");
}
