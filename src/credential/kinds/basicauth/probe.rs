//! Whether the upstream knows a new pair yet.
//!
//! A registration may take seconds to reach every part of the contact center; the
//! probe waits for that, so that no call has to.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION};
use http::{HeaderValue, Request, StatusCode};
use tokio::time::Instant;

use crate::base::causes::with_causes;
use crate::credential::issuer_client::IssuerClient;
use crate::credential::{MintError, UnavailableReason};

/// The first pause between two tries; it doubles.
const PAUSE_FIRST: Duration = Duration::from_millis(200);
const PAUSE_MOST: Duration = Duration::from_secs(1);

/// A GET that a credential must pass before it is used.
pub(super) struct Probe {
    pub(super) login: IssuerClient,
    pub(super) path: Arc<str>,
}

impl Probe {
    /// Asks with `pair` until the answer is 2xx. A 401 is asked again until
    /// `patience` ends, anything else fails at once.
    ///
    /// # Errors
    /// Where the pair was not accepted.
    pub(super) async fn pass(
        &self,
        pair: &HeaderValue,
        patience: Instant,
    ) -> Result<(), MintError> {
        let mut pause = PAUSE_FIRST;
        loop {
            let status = self.ask(pair).await?;
            if status.is_success() {
                return Ok(());
            }
            let path = &self.path;
            if status != StatusCode::UNAUTHORIZED {
                return Err(failed(format!(
                    "the probe of {path} with the new registration was answered {status}: the one \
                     before stays in use; is probe a path that its role may read?"
                )));
            }
            if Instant::now() + pause >= patience {
                return Err(failed(format!(
                    "the probe of {path} with the new registration is still answered 401: the one \
                     before stays in use"
                )));
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MOST);
        }
    }

    async fn ask(&self, pair: &HeaderValue) -> Result<StatusCode, MintError> {
        let request = Request::get(&*self.path)
            .header(ACCEPT, "*/*")
            .header(AUTHORIZATION, pair)
            .body(Bytes::new())
            .map_err(|_| failed("probe makes no request target".into()))?;
        match self.login.send(request).await {
            Ok(answer) => Ok(answer.status),
            // Long lists are answers too.
            Err(crate::credential::issuer_response::IssuerError::TooLong) => Ok(StatusCode::OK),
            Err(error) => Err(failed(format!(
                "the probe of {} with the new registration failed: {}",
                self.path,
                with_causes(&error)
            ))),
        }
    }
}

fn failed(detail: String) -> MintError {
    MintError::Unavailable {
        reason: UnavailableReason::Probe,
        detail,
        retry_after: None,
    }
}
