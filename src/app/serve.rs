//! *Serve*: what runs while calls are taken.
//!
//! Listeners have their sockets from `listener_sockets` and are served by `workers`, the
//! admin listener and the admin socket (`admin_socket`) by `admin_listener` on the control
//! thread. `admin_view` is what it sees of the plan; `sampler` feeds its charts; `gauges`,
//! `certificates`, `reminders` and `orphans` tell and tend beside the calls.

pub mod admin_listener;
pub mod admin_socket;
pub mod admin_view;
pub mod authority_reminders;
pub mod certificates;
pub mod gauges;
pub mod listener_sockets;
pub mod orphans;
pub mod reminders;
pub mod sampler;
pub mod workers;
