//! Takes the samples from which the page draws its charts, on the control thread.

use tokio::time::{MissedTickBehavior, interval};

use crate::admin::history::EVERY;
use crate::admin::view::Admin;

/// Samples the routes of `admin`, also when a reload makes others of them, until the future
/// is dropped.
pub async fn sample(admin: Admin) {
    let mut tick = interval(EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let view = admin.admin_view.load_full();
        let routes: Vec<_> = view
            .routes
            .iter()
            .map(|route| route.metrics.clone())
            .collect();
        admin.history.sample(&routes, admin.clock.now().wall_ms);
    }
}
