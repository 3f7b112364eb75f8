//! Tasks beside the calls, all of one type.
//!
//! The runtime's code for a task comes once for each type of future, some thousand bytes. What
//! no call waits for costs one box instead.

use std::future::Future;
use std::pin::Pin;

/// A task for any thread.
pub type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A task for the thread that it was made on.
pub type LocalTask = Pin<Box<dyn Future<Output = ()>>>;

/// Makes `future` a task.
pub fn boxed(future: impl Future<Output = ()> + Send + 'static) -> Task {
    Box::pin(future)
}

/// Makes `future` a task for this thread.
pub fn boxed_local(future: impl Future<Output = ()> + 'static) -> LocalTask {
    Box::pin(future)
}
