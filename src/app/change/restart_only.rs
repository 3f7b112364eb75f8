//! What a process keeps from its start, whatever a reload reads.

use crate::config::Config;

/// Puts what cannot change in a running process back to what `running` says, and names
/// the keys that would have changed. Threads, the admin address, the store and the log
/// are made once.
pub fn keep(config: &mut Config, running: &Config) -> Vec<&'static str> {
    let mut kept = Vec::new();
    let mut fix = |key, changed: bool| {
        if changed {
            kept.push(key);
        }
    };
    fix("workers.count", config.workers != running.workers);
    fix("admin.bind", config.admin.bind != running.admin.bind);
    fix("store", config.store != running.store);
    fix("log", config.log != running.log);
    config.workers = running.workers;
    config.admin.bind = running.admin.bind;
    config.store.clone_from(&running.store);
    config.log = running.log;
    kept
}
