//! Whose credential a call gets, on a route that takes its tenant from a field.
//!
//! The field must be there exactly once and name a tenant that the route allows; it
//! goes on as it came. A credential of which each tenant has its own is looked up
//! here, once a call, and travels with the call; on all other routes this layer is
//! one comparison.

use std::sync::Arc;
use std::task::{Context, Poll};

use tower::{Layer, Service};

use crate::config::tenant::TenantRule;
use crate::credential::tenants::Tenants;
use crate::gateway::error::{CallerFault, Error};
use crate::gateway::stack::check::CheckFuture;
use crate::gateway::{Call, CallResponse, HttpService};

/// What a route knows of tenants.
#[derive(Debug)]
pub struct TenantRules {
    /// Where the tenant is named, and who may be.
    pub rule: TenantRule,
    /// Their credentials; `None` where all tenants share one.
    pub tenants: Option<Arc<Tenants>>,
}

impl TenantRules {
    fn place(&self, call: &mut Call) -> Result<(), Error> {
        let header = &self.rule.header;
        let fault = |why| CallerFault::Tenant {
            header: header.clone(),
            why,
        };
        let mut values = call.request.headers().get_all(header).iter();
        let value = values.next().ok_or_else(|| fault("is missing"))?;
        if values.next().is_some() {
            return Err(fault("is there more than once").into());
        }
        let name = value.to_str().ok();
        let name = name
            .filter(|name| self.rule.allows(name))
            .ok_or_else(|| fault("names a tenant that the route does not allow"))?;
        let slot = match &self.tenants {
            Some(tenants) => Some(tenants.slot(name)?),
            None => None,
        };
        call.slot = slot;
        Ok(())
    }
}

/// Adds [`Tenant`].
#[derive(Clone, Debug, Default)]
pub struct TenantLayer {
    rules: Option<Arc<TenantRules>>,
}

impl TenantLayer {
    /// Places calls by `rules`; without any, every call passes.
    pub fn new(rules: Option<Arc<TenantRules>>) -> TenantLayer {
        TenantLayer { rules }
    }
}

impl<S> Layer<S> for TenantLayer {
    type Service = Tenant<S>;
    fn layer(&self, inner: S) -> Tenant<S> {
        Tenant {
            inner,
            rules: self.rules.clone(),
        }
    }
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Tenant<S> {
    inner: S,
    rules: Option<Arc<TenantRules>>,
}

impl<S: HttpService> Service<Call> for Tenant<S> {
    type Response = CallResponse;
    type Error = Error;
    type Future = CheckFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut call: Call) -> Self::Future {
        let Some(rules) = &self.rules else {
            return CheckFuture::passed(self.inner.call(call));
        };
        match rules.place(&mut call) {
            Ok(()) => CheckFuture::passed(self.inner.call(call)),
            Err(error) => CheckFuture::refused(error),
        }
    }
}
