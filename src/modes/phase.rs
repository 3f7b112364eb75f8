//! How far headset, or one of its listeners, is on its way out.

/// How far headset is on its way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Serving.
    Serving,
    /// Asked to stop: still accepting, since a sidecar gets the signal together with
    /// its application; answers close their connections.
    Draining,
    /// Its listener was removed by a reload: it accepts nothing; open connections are
    /// told with their next answer to close.
    Removed,
    /// No more calls: accept nothing, close what is idle.
    Closing,
    /// The drain time is over: WebSockets are closed, too.
    Over,
}
