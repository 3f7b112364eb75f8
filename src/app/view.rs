//! The plan as the admin listener sees it: the admin floor knows no plan, so `app`
//! lends it a view.

use std::sync::Arc;

use crate::admin::guard::AdminGuard;
use crate::admin::status::{AdminView, CredentialView, RouteView, StatusSource};
use crate::app::plan::{Plan, PlannedCredential};
use crate::config::Config;

/// See the module.
#[derive(Debug)]
pub struct PlanView(pub Vec<PlannedCredential>);

impl StatusSource for PlanView {
    fn credentials(&self) -> Vec<CredentialView> {
        let view = |credential: &PlannedCredential| CredentialView {
            name: credential.handle.name().clone(),
            kind: credential.kind,
            per_tenant: credential.handle.one().is_none(),
            action: credential.person_does(),
            slots: credential.snapshots(),
        };
        self.0.iter().map(view).collect()
    }
}

/// All that it shows of `plan`.
pub fn admin_view(plan: &Plan) -> AdminView {
    AdminView {
        guard: AdminGuard::new(&plan.config.admin, plan.admin_token.clone()),
        credentials: Arc::new(PlanView(plan.credentials.clone())),
        routes: routes(&plan.config),
        config: plan.config.digest.clone(),
        reloaded: None,
    }
}

/// The routes of `config`.
fn routes(config: &Config) -> Vec<RouteView> {
    let view = |route: &crate::config::RouteConfig| RouteView {
        name: route.name.clone(),
        host: route.host.clone(),
        path: route.path.clone(),
        upstream: route.upstream.to_string(),
        credential: route.credential.clone(),
        tenant: route.tenant.as_ref().map(|rule| rule.header.to_string()),
    };
    config.routes.iter().map(view).collect()
}
