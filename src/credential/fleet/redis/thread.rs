//! The thread on which connections to Redis live.

use std::sync::OnceLock;

use tokio::runtime::{Builder, Handle};

use crate::credential::fleet::StoreDown;

/// Runs `task` on the thread of the store, and waits for it.
pub(super) async fn on_store_thread<T: Send + 'static>(
    task: impl Future<Output = T> + Send + 'static,
) -> Result<T, StoreDown> {
    let ended = store_thread()?.spawn(task).await;
    ended.map_err(|error| StoreDown::new(format!("the thread of the store failed ({error})")))
}

/// The thread of the store, which is started where there is none and ends with the process.
pub(super) fn store_thread() -> Result<&'static Handle, StoreDown> {
    static THREAD: OnceLock<Option<Handle>> = OnceLock::new();
    let started = THREAD.get_or_init(|| {
        let runtime = Builder::new_current_thread().enable_all().build().ok()?;
        let handle = runtime.handle().clone();
        let named = std::thread::Builder::new().name("store".into());
        let run = move || runtime.block_on(std::future::pending::<()>());
        named.spawn(run).ok()?;
        Some(handle)
    });
    let refuse = || StoreDown::new("the machine gives no thread for the shared store");
    started.as_ref().ok_or_else(refuse)
}
