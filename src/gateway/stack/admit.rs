//! Whether a caller may call here: it is a process of a user who may, where the listener
//! names users, and it shows the listener's token, where there is one.
//!
//! The token comes as `Proxy-Authorization` (RFC 9110 §11.7.2), since `Authorization`
//! is the upstream's: as `Bearer` (RFC 6750 §2.1), or as the password of `Basic` (RFC
//! 7617 §2) for programs that can only be given a proxy's user and password. It is
//! compared in constant time and ends here. Refused is 403, never 401 or 407: nobody
//! must take it for the upstream's, and nothing asks a browser for a password. On a forward
//! listener it is 407, which is what clients of a proxy act on; a call in a tunnel shows
//! nothing, since its CONNECT did.

use std::sync::Arc;
use std::task::{Context, Poll};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, header};
use tower::{Layer, Service};
use zeroize::Zeroizing;

use crate::gateway::error::{CallerFault, Error};
use crate::gateway::metrics::{ListenerMetrics, ListenerRefusal};
use crate::gateway::stack::check::CheckFuture;
use crate::gateway::{Call, CallResponse, HttpService};
use crate::secret::token::Token;

const MISSING: &str = "the call shows no caller token";
const SEVERAL: &str = "the call shows more than one caller token";
const UNREADABLE: &str = "the Proxy-Authorization is neither Bearer nor Basic";
const OTHER: &str = "the call shows a wrong caller token";

/// Whether `headers` show `token`, exactly once.
///
/// # Errors
/// With why not, for people; nothing of what was shown.
fn judge(token: &Token, headers: &HeaderMap) -> Result<(), &'static str> {
    let mut all = headers.get_all(header::PROXY_AUTHORIZATION).iter();
    let value = all.next().ok_or(MISSING)?;
    if all.next().is_some() {
        return Err(SEVERAL);
    }
    // Byte by byte: a secret may hold letters beyond ASCII.
    let value = value.as_bytes();
    let blank = value.iter().position(|byte| *byte == b' ');
    let (scheme, rest) = value.split_at(blank.ok_or(UNREADABLE)?);
    let rest = rest.trim_ascii();
    let is_right = if scheme.eq_ignore_ascii_case(b"bearer") {
        token.is(rest)
    } else if scheme.eq_ignore_ascii_case(b"basic") {
        let pair = Zeroizing::new(STANDARD.decode(rest).map_err(|_| UNREADABLE)?);
        let colon = pair.iter().position(|&octet| octet == b':');
        token.is(&pair[colon.ok_or(UNREADABLE)? + 1..])
    } else {
        return Err(UNREADABLE);
    };
    is_right.then_some(()).ok_or(OTHER)
}

/// Adds [`Admit`].
#[derive(Clone, Debug)]
pub struct AdmitLayer {
    token: Option<Arc<Token>>,
    users: Option<Arc<[u32]>>,
    metrics: Arc<ListenerMetrics>,
    /// Whether its listener is a forward proxy.
    is_proxy: bool,
}

impl AdmitLayer {
    /// Asks for `token`, or for nothing; `metrics` counts who is refused.
    pub fn new(token: Option<Arc<Token>>, metrics: Arc<ListenerMetrics>) -> AdmitLayer {
        AdmitLayer {
            token,
            users: None,
            metrics,
            is_proxy: false,
        }
    }

    /// The same, which lets in processes of these users alone; `None` is all.
    #[must_use]
    pub fn of_users(self, users: Option<Arc<[u32]>>) -> AdmitLayer {
        AdmitLayer { users, ..self }
    }

    /// Whether a process of `user` may call.
    ///
    /// # Errors
    /// Where it may not; that is counted.
    fn admits(&self, user: Option<u32>) -> Result<(), CallerFault> {
        let may = |users: &Arc<[u32]>| user.is_some_and(|user| users.contains(&user));
        if self.users.as_ref().is_none_or(may) {
            return Ok(());
        }
        self.metrics.refused(ListenerRefusal::CallerUser).inc();
        Err(CallerFault::CallerUser(user))
    }

    /// The same for a listener that is a forward proxy.
    #[must_use]
    pub fn of_a_proxy(self) -> AdmitLayer {
        AdmitLayer {
            is_proxy: true,
            ..self
        }
    }
}

impl<S> Layer<S> for AdmitLayer {
    type Service = Admit<S>;
    fn layer(&self, inner: S) -> Admit<S> {
        Admit {
            inner,
            layer: self.clone(),
        }
    }
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Admit<S> {
    inner: S,
    layer: AdmitLayer,
}

impl<S: HttpService> Service<Call> for Admit<S> {
    type Response = CallResponse;
    type Error = Error;
    type Future = CheckFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut call: Call) -> Self::Future {
        if self.layer.users.is_some()
            && let Err(fault) = self.layer.admits(call.facts.peer.uid)
        {
            return CheckFuture::refused(fault.into());
        }
        let Some(token) = &self.layer.token else {
            return CheckFuture::passed(self.inner.call(call));
        };
        // A request with two readings has no certain end: `target` refuses it, and its
        // connection closes.
        let is_judged =
            matches!(call.fault, Some(CallerFault::Framing(_))) || call.facts.came_by_tunnel;
        if !is_judged && let Err(why) = judge(token, call.request.headers()) {
            self.layer
                .metrics
                .refused(ListenerRefusal::CallerToken)
                .inc();
            return CheckFuture::refused(match self.layer.is_proxy {
                true => CallerFault::ProxyToken(why).into(),
                false => CallerFault::CallerToken(why).into(),
            });
        }
        // It was for us and has done its work; what is still there was not the token.
        let headers = call.request.headers_mut();
        headers.remove(header::PROXY_AUTHORIZATION);
        CheckFuture::passed(self.inner.call(call))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::temp_folder::TempFolder;
    use crate::secret::SecretSource;

    fn verdict(token: &Token, values: &[&str]) -> Result<(), &'static str> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::PROXY_AUTHORIZATION, value.parse().unwrap());
        }
        judge(token, &headers)
    }

    #[test]
    fn it_comes_as_a_bearer_or_as_a_password_and_once() {
        let folder = TempFolder::new();
        let path = folder.write("token", "s3:cret\n");
        let token = Token::read(SecretSource::File(path)).unwrap();
        let basic = |pair: &str| format!("Basic {}", STANDARD.encode(pair));
        for good in ["Bearer s3:cret", "bEARER  s3:cret"] {
            assert_eq!(verdict(&token, &[good]), Ok(()), "{good}");
        }
        for pair in ["x:s3:cret", ":s3:cret"] {
            assert_eq!(verdict(&token, &[&basic(pair)]), Ok(()), "{pair}");
        }
        for other in [
            "Bearer s3:cre",
            "Bearer s3:cret1",
            "Bearer ",
            "Bearer x s3:cret",
        ] {
            assert_eq!(verdict(&token, &[other]), Err(OTHER), "{other}");
        }
        for pair in ["s3:cret", "s3:cret:", "x:"] {
            assert_eq!(verdict(&token, &[&basic(pair)]), Err(OTHER), "{pair}");
        }
        for bad in [
            "s3:cret",
            "Basic s3:cret",
            "Digest s3:cret",
            "Bearer",
            &basic("s3"),
        ] {
            assert_eq!(verdict(&token, &[bad]), Err(UNREADABLE), "{bad}");
        }
        assert_eq!(verdict(&token, &[]), Err(MISSING));
        let letters = folder.write("letters", "schlüssel");
        let letters = Token::read(SecretSource::File(letters)).unwrap();
        let mut headers = HeaderMap::new();
        let shown = http::HeaderValue::from_bytes("Bearer schlüssel".as_bytes()).unwrap();
        headers.append(header::PROXY_AUTHORIZATION, shown);
        assert_eq!(judge(&letters, &headers), Ok(()));
        let right = "Bearer s3:cret";
        assert_eq!(verdict(&token, &[right, right]), Err(SEVERAL));
    }
}
