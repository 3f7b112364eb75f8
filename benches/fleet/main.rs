//! A fleet at scale: a thousand replicas' real credential engines in one process, each with a
//! connection of its own to a real Redis, against the simulated contact center.
//!
//!   cargo bench --profile dev --bench fleet -- 1000
//!
//! It says for each scenario of `docs/fleet.md` how many registrations there were beside the
//! ideal, how many replicas were without a credential at any moment, and how long it took until
//! the last one had the new one; then what Redis does in an hour for a replica, and its memory
//! for the credential. It fails where a registration was too many or a replica without one. Needs
//! `redis-server`. All replicas are keepers, which is the hardest for the lease, and share one
//! thread for the store: a busy machine makes times worse.

#[cfg(feature = "redis")]
mod redis_server;
#[cfg(feature = "redis")]
mod scenarios;
#[cfg(feature = "redis")]
mod wire;
#[cfg(feature = "redis")]
mod world;

#[cfg(feature = "redis")]
fn tell(line: std::fmt::Arguments<'_>) {
    use std::io::Write as _;
    let told = writeln!(std::io::stdout(), "{line}");
    told.expect("stdout is there");
}

#[cfg(feature = "redis")]
fn main() {
    let many = std::env::args().skip(1).find_map(|text| text.parse().ok());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime can be made");
    runtime.block_on(scenarios::run(many.unwrap_or(1000)));
}

#[cfg(not(feature = "redis"))]
fn main() {}
