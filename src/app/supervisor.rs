//! What the service manager is told, where there is one that listens (`NOTIFY_SOCKET`,
//! sd_notify(3)): ready, reloading, stopping. With `Type=notify-reload`, `systemctl
//! start` and `systemctl reload` then return when it is done.

use sd_notify::NotifyState;

/// Everything is bound.
pub fn ready() {
    tell(&[NotifyState::Ready]);
}

/// A reload begins; [`reloaded`] must follow.
pub fn reloading() {
    // Without the time it would be taken for an older reload's (systemd 253).
    if let Ok(now) = NotifyState::monotonic_usec_now() {
        tell(&[NotifyState::Reloading, now]);
    }
}

/// The reload is over; `outcome` is one line for `systemctl status`.
pub fn reloaded(outcome: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(outcome)]);
}

/// headset is on its way out.
pub fn stopping() {
    tell(&[NotifyState::Stopping]);
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(error.detail = %error, "the service manager cannot be told");
    }
}
