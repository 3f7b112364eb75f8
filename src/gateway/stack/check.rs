//! The future of every layer that lets a call pass or refuses it at once.
//!
//! Such a layer judges in `call`, before anything is awaited; so its future is that of
//! the layer below, or an error that is there already.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use crate::gateway::CallResponse;
use crate::gateway::error::Error;

pin_project! {
    /// The future of a layer that lets a call pass or refuses it at once.
    #[allow(missing_docs, reason = "the macro takes no docs on fields of variants")]
    #[project = CheckedProjected]
    pub enum CheckFuture<F> {
        /// Refused; taken when polled.
        Refused { error: Option<Error> },
        /// Passed on.
        Passed { #[pin] inner: F },
    }
}

impl<F> CheckFuture<F> {
    /// Goes on with `inner`.
    pub fn passed(inner: F) -> CheckFuture<F> {
        CheckFuture::Passed { inner }
    }

    /// Ends with `error`.
    pub fn refused(error: Error) -> CheckFuture<F> {
        CheckFuture::Refused { error: Some(error) }
    }
}

impl<F: Future<Output = Result<CallResponse, Error>>> Future for CheckFuture<F> {
    type Output = Result<CallResponse, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project() {
            CheckedProjected::Refused { error } => match error.take() {
                Some(error) => Poll::Ready(Err(error)),
                None => Poll::Pending,
            },
            CheckedProjected::Passed { inner } => inner.poll(cx),
        }
    }
}
