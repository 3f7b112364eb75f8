//! Whether a caller may call here: it shows the listener's token, where there is one.
//!
//! The token comes as `Proxy-Authorization` (RFC 9110 §11.7.2), since `Authorization`
//! is the upstream's: as `Bearer` (RFC 6750 §2.1), or as the password of `Basic` (RFC
//! 7617 §2) for programs that can only be given a proxy's user and password. It is
//! compared in constant time and ends here. Refused is 403, never 401 or 407: nobody
//! must take it for the upstream's, and nothing asks a browser for a password.

use std::sync::Arc;
use std::task::{Context, Poll};

use arc_swap::ArcSwap;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, header};
use subtle::ConstantTimeEq;
use tower::{Layer, Service};
use zeroize::Zeroizing;

use crate::gateway::error::{CallerFault, Error};
use crate::gateway::metrics::{ListenerMetrics, Refusal};
use crate::gateway::stack::target::Checked;
use crate::gateway::{Answer, Call, HttpService};
use crate::secret::{Secret, SecretError, Source};

const MISSING: &str = "the call shows no caller token";
const SEVERAL: &str = "the call shows more than one caller token";
const UNREADABLE: &str = "the Proxy-Authorization is neither Bearer nor Basic";
const OTHER: &str = "the call shows another caller token than this listener's";

/// What callers of one listener must show. Shared by all workers.
#[derive(Debug)]
pub struct CallerToken {
    source: Source,
    now: ArcSwap<Secret<String>>,
}

impl CallerToken {
    /// Reads it from `source`; blocks as [`Source::fetch`] does.
    ///
    /// # Errors
    /// As [`Source::fetch`].
    pub fn read(source: Source) -> Result<CallerToken, SecretError> {
        let now = ArcSwap::from_pointee(source.fetch()?);
        Ok(CallerToken { source, now })
    }

    /// Where it comes from.
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// Whether `other` comes from the same place and is the same.
    pub fn is_same_as(&self, other: &CallerToken) -> bool {
        self.source == other.source && self.compare(other.now.load().expose().as_bytes()).is_ok()
    }

    /// Reads it anew; calls that begin later are judged by what is there now. Tells
    /// whether that is another.
    ///
    /// # Errors
    /// As [`Source::fetch`]; the token stays as it was.
    pub fn reread(&self) -> Result<bool, SecretError> {
        let read = self.source.fetch()?;
        let is_new = self.compare(read.expose().as_bytes()).is_err();
        self.now.store(Arc::new(read));
        Ok(is_new)
    }

    /// Whether `headers` show it, exactly once.
    ///
    /// # Errors
    /// With why not, for people; nothing of what was shown.
    fn judge(&self, headers: &HeaderMap) -> Result<(), &'static str> {
        let mut all = headers.get_all(header::PROXY_AUTHORIZATION).iter();
        let value = all.next().ok_or(MISSING)?;
        if all.next().is_some() {
            return Err(SEVERAL);
        }
        let value = value.to_str().map_err(|_| UNREADABLE)?;
        let (scheme, rest) = value.split_once(' ').ok_or(UNREADABLE)?;
        let rest = rest.trim();
        if scheme.eq_ignore_ascii_case("bearer") {
            self.compare(rest.as_bytes())
        } else if scheme.eq_ignore_ascii_case("basic") {
            let pair = Zeroizing::new(STANDARD.decode(rest).map_err(|_| UNREADABLE)?);
            let colon = pair.iter().position(|&octet| octet == b':');
            self.compare(&pair[colon.ok_or(UNREADABLE)? + 1..])
        } else {
            Err(UNREADABLE)
        }
    }

    fn compare(&self, shown: &[u8]) -> Result<(), &'static str> {
        let same: bool = shown.ct_eq(self.now.load().expose().as_bytes()).into();
        if same { Ok(()) } else { Err(OTHER) }
    }
}

/// Adds [`Admit`].
#[derive(Clone, Debug)]
pub struct AdmitLayer {
    token: Option<Arc<CallerToken>>,
    metrics: Arc<ListenerMetrics>,
}

impl AdmitLayer {
    /// Asks for `token`, or for nothing; `metrics` counts who is refused.
    pub fn new(token: Option<Arc<CallerToken>>, metrics: Arc<ListenerMetrics>) -> AdmitLayer {
        AdmitLayer { token, metrics }
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
    type Response = Answer;
    type Error = Error;
    type Future = Checked<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut call: Call) -> Self::Future {
        let Some(token) = &self.layer.token else {
            return Checked::passed(self.inner.call(call));
        };
        // A request with two readings has no certain end: `target` refuses it, and its
        // connection closes.
        if !matches!(call.fault, Some(CallerFault::Framing(_)))
            && let Err(why) = token.judge(call.request.headers())
        {
            self.layer.metrics.refused(Refusal::CallerToken).inc();
            return Checked::refused(CallerFault::CallerToken(why).into());
        }
        // It was for us and has done its work; what is still there was not the token.
        let headers = call.request.headers_mut();
        headers.remove(header::PROXY_AUTHORIZATION);
        Checked::passed(self.inner.call(call))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::watch::testing::Folder;

    fn verdict(token: &CallerToken, values: &[&str]) -> Result<(), &'static str> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::PROXY_AUTHORIZATION, value.parse().unwrap());
        }
        token.judge(&headers)
    }

    #[test]
    fn it_comes_as_a_bearer_or_as_a_password_and_once() {
        let folder = Folder::new();
        let path = folder.write("token", "s3:cret\n");
        let token = CallerToken::read(Source::File(path)).unwrap();
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
        let right = "Bearer s3:cret";
        assert_eq!(verdict(&token, &[right, right]), Err(SEVERAL));
    }

    #[test]
    fn what_cannot_be_read_anew_stays_as_it_was() {
        let folder = Folder::new();
        let path = folder.write("token", "one");
        let token = CallerToken::read(Source::File(path)).unwrap();
        folder.write("token", "");
        assert!(token.reread().is_err());
        assert_eq!(verdict(&token, &["Bearer one"]), Ok(()));
        folder.write("token", "two");
        token.reread().unwrap();
        assert_eq!(verdict(&token, &["Bearer one"]), Err(OTHER));
        assert_eq!(verdict(&token, &["Bearer two"]), Ok(()));
    }
}
