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
    fix("admin.socket", config.admin.socket != running.admin.socket);
    fix("store", config.store != running.store);
    fix("log", config.log != running.log);
    config.workers = running.workers;
    config.admin.bind = running.admin.bind;
    config.admin.socket.clone_from(&running.admin.socket);
    config.store.clone_from(&running.store);
    config.log = running.log;
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::build::testing::config;

    const ROUTE: &str = "[route.a]\nmatch.path = \"/\"\nupstream = \"https://cms.example.com\"\n";

    #[test]
    fn what_is_made_once_keeps_its_value_and_is_named() {
        let running = config(ROUTE);
        let mut same = config(ROUTE);
        assert!(keep(&mut same, &running).is_empty());
        let mut next = config(&format!(
            "[workers]\ncount = 3\n[admin]\nbind = \"127.0.0.1:9999\"\n[log]\nlevel = \"debug\"\n\
             [limits]\nin_flight = 7\n{ROUTE}"
        ));
        let kept = keep(&mut next, &running);
        assert_eq!(kept, ["workers.count", "admin.bind", "log"]);
        assert_eq!(next.workers, running.workers);
        assert_eq!(next.admin.bind, running.admin.bind);
        assert_eq!(next.log, running.log);
        assert_eq!(next.limits.in_flight, 7, "all else is the new one's");
    }
}
