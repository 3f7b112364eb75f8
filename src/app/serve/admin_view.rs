//! The plan as the admin listener sees it. The admin floor knows neither plan nor slot,
//! so `app` lends it views.

use std::sync::Arc;

use crate::admin::guard::AdminGuard;
use crate::admin::health::ReadinessCheck;
use crate::admin::view::{
    AdminView, CredentialView, ListenerView, Retrying, RouteView, StatusSource,
};
use crate::app::build::{Plan, PlannedCredential, PlannedListener};
use crate::config::RouteConfig;
use crate::credential::slot::Slot;
use crate::credential::tenants::CredentialHandle;
use crate::gateway::metrics::RouteMetrics;

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

    fn retry(&self, name: &str, tenant: Option<&str>, renew: bool) -> Option<Retrying> {
        let mut named = self.0.iter();
        let found = named.find(|credential| credential.handle.name().as_str() == name)?;
        let slots: Vec<Arc<Slot>> = match (&found.handle, tenant) {
            (CredentialHandle::One(slot), None) => vec![slot.clone()],
            (CredentialHandle::One(_), Some(_)) => Vec::new(),
            (CredentialHandle::PerTenant(tenants), Some(tenant)) => {
                tenants.find(tenant).into_iter().collect()
            }
            (CredentialHandle::PerTenant(tenants), None) => {
                let all = tenants.all().into_iter().map(|(_, slot)| slot);
                all.filter(|slot| slot.snapshot().last_error.is_some())
                    .collect()
            }
        };
        Some(Box::pin(async move {
            let mut asking = tokio::task::JoinSet::new();
            for slot in slots {
                let tenant = slot.tenant().map(Into::into);
                asking.spawn(async move { (tenant, slot.retry(renew).await) });
            }
            asking.join_all().await
        }))
    }
}

/// All that it shows of `plan`.
pub fn admin_view(plan: &Plan) -> AdminView {
    AdminView {
        guard: AdminGuard::new(&plan.config.admin, plan.admin_token.clone()),
        credentials: Arc::new(PlanView(plan.credentials.clone())),
        routes: routes(plan),
        listeners: plan.listeners.iter().map(listener).collect(),
        authorities: plan.authorities(),
        config: plan.config.digest.clone(),
        reloads: Vec::new(),
        explainer: plan.explainer.clone(),
    }
}

/// What of `plan` must be live for headset to be of use.
pub fn readiness_checks(plan: &Plan) -> Vec<Arc<dyn ReadinessCheck>> {
    let all = plan.shared_slots().into_iter();
    all.map(|slot| Arc::new(SlotReadiness(slot)) as Arc<dyn ReadinessCheck>)
        .collect()
}

/// A slot as the probes see it.
#[derive(Debug)]
struct SlotReadiness(Arc<Slot>);

impl ReadinessCheck for SlotReadiness {
    fn name(&self) -> &str {
        self.0.name().as_str()
    }

    fn is_live(&self) -> bool {
        self.0.peek().is_some()
    }

    fn was_minted(&self) -> bool {
        self.0.snapshot().generation > 0
    }
}

fn listener(planned: &PlannedListener) -> ListenerView {
    let config = &planned.config;
    ListenerView {
        name: config.name.clone(),
        bind: config.bind.to_string(),
        tls: config.tls.is_some(),
        passes_elsewhere: config.forward.as_ref().map(|f| f.passes_elsewhere),
        authority: planned.listener_auth.authority.clone(),
    }
}

/// The routes of `plan`, each with its handles, which all listeners share.
fn routes(plan: &Plan) -> Vec<RouteView> {
    let view = |(route, metrics): (&RouteConfig, &Arc<RouteMetrics>)| RouteView {
        name: route.name.clone(),
        host: route.host.clone(),
        path: route.path.clone(),
        upstream: route.upstream.to_string(),
        credential: route.credential.clone(),
        tenant: route.tenant.as_ref().map(|rule| rule.header.to_string()),
        pace: route.pace,
        metrics: metrics.clone(),
    };
    let routes = plan.config.routes.iter();
    routes.zip(&plan.route_metrics).map(view).collect()
}
