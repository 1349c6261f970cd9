//! Who may ask for which path, and what of it is kept in the audit log. A path that is not listed here is answered to
//! nobody. It decides nothing about anybody.

use axum::http::Method;

use crate::host::{Scope, Weight};

/// What a caller must have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// Nothing at all, not even a key.
    Nothing,
    Scope(Scope),
    /// To run the server: it concerns all tenants.
    Operator,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route {
    pub method: &'static str,
    /// As in the OpenAPI document.
    pub path: &'static str,
    pub needs: Needs,
    /// How its line in the audit log is written; `None`: it changes nothing.
    pub audit: Option<Weight>,
}

/// Answers what there is, and changes nothing.
const fn sees(method: &'static str, path: &'static str, scope: Scope) -> Route {
    Route { method, path, needs: Needs::Scope(scope), audit: None }
}

const fn runs(method: &'static str, path: &'static str) -> Route {
    Route { method, path, needs: Needs::Scope(Scope::Run), audit: Some(Weight::Light) }
}

const fn signals(method: &'static str, path: &'static str) -> Route {
    Route { method, path, needs: Needs::Scope(Scope::Signal), audit: Some(Weight::Light) }
}

const fn deploys(method: &'static str, path: &'static str) -> Route {
    Route { method, path, needs: Needs::Scope(Scope::Deploy), audit: Some(Weight::Heavy) }
}

const fn administers(method: &'static str, path: &'static str) -> Route {
    Route { method, path, needs: Needs::Scope(Scope::Admin), audit: Some(Weight::Heavy) }
}

const fn operates(method: &'static str, path: &'static str, audit: Option<Weight>) -> Route {
    Route { method, path, needs: Needs::Operator, audit }
}

/// Every path.
pub const ROUTES: &[Route] = &[
    Route { method: "GET", path: "/v1/health", needs: Needs::Nothing, audit: None },
    sees("GET", "/v1/openapi.json", Scope::Read),
    sees("GET", "/v1/components", Scope::Read),
    deploys("POST", "/v1/components"),
    sees("GET", "/v1/components/{digest}", Scope::Read),
    administers("DELETE", "/v1/components/{digest}"),
    sees("GET", "/v1/deployments", Scope::Read),
    sees("GET", "/v1/deployments/{name}", Scope::Read),
    deploys("PUT", "/v1/deployments/{name}"),
    administers("DELETE", "/v1/deployments/{name}"),
    deploys("POST", "/v1/deployments/{name}/promote"),
    deploys("POST", "/v1/deployments/{name}/rollback"),
    sees("POST", "/v1/deployments/{name}/plan", Scope::Deploy),
    administers("POST", "/v1/deployments/{name}/approve"),
    administers("POST", "/v1/deployments/{name}/reject"),
    sees("GET", "/v1/policy", Scope::Read),
    operates("PUT", "/v1/policy", Some(Weight::Heavy)),
    sees("GET", "/v1/redaction", Scope::Admin),
    administers("PUT", "/v1/redaction"),
    administers("POST", "/v1/redaction/add"),
    administers("POST", "/v1/redaction/remove"),
    runs("POST", "/v1/runs"),
    sees("GET", "/v1/runs", Scope::Read),
    sees("GET", "/v1/runs/{id}", Scope::Read),
    administers("DELETE", "/v1/runs/{id}"),
    sees("GET", "/v1/runs/{id}/wait", Scope::Read),
    sees("GET", "/v1/runs/{id}/children", Scope::Read),
    runs("POST", "/v1/runs/{id}/cancel"),
    runs("POST", "/v1/runs/{id}/terminate"),
    runs("POST", "/v1/runs/{id}/pause"),
    runs("POST", "/v1/runs/{id}/resume"),
    runs("POST", "/v1/runs/{id}/restart"),
    runs("POST", "/v1/runs/{id}/move"),
    runs("POST", "/v1/runs/{id}/retry"),
    signals("POST", "/v1/runs/{id}/signals/{name}"),
    sees("GET", "/v1/promises/{token}", Scope::Read),
    signals("POST", "/v1/promises/{token}/resolve"),
    signals("POST", "/v1/promises/{token}/reject"),
    sees("GET", "/v1/entities", Scope::Read),
    sees("GET", "/v1/entities/{name}/{key}", Scope::Read),
    signals("PUT", "/v1/entities/{name}/{key}"),
    signals("DELETE", "/v1/entities/{name}/{key}"),
    signals("POST", "/v1/runs/{id}/updates/{name}"),
    sees("GET", "/v1/runs/{id}/state", Scope::Read),
    sees("GET", "/v1/runs/{id}/state/{key}", Scope::Read),
    sees("GET", "/v1/questions", Scope::Read),
    sees("GET", "/v1/questions/{id}/{question}", Scope::Read),
    signals("POST", "/v1/questions/{id}/{question}/answer"),
    sees("GET", "/v1/runs/{id}/trace", Scope::Read),
    sees("GET", "/v1/runs/{id}/values/{digest}", Scope::Read),
    sees("GET", "/v1/runs/{id}/logs", Scope::Read),
    sees("GET", "/v1/runs/{id}/events", Scope::Read),
    sees("GET", "/v1/runs/{id}/stream", Scope::Read),
    sees("GET", "/v1/runs/{id}/journal", Scope::Read),
    sees("POST", "/v1/runs/{id}/replay", Scope::Run),
    sees("GET", "/v1/secrets", Scope::Deploy),
    administers("PUT", "/v1/secrets/{name}"),
    administers("DELETE", "/v1/secrets/{name}"),
    operates("POST", "/v1/store/rotate-secrets", Some(Weight::Heavy)),
    operates("POST", "/v1/store/check", None),
    // It changes nothing, and takes everything along.
    operates("GET", "/v1/store/backup", Some(Weight::Heavy)),
    operates("GET", "/v1/store/data-keys", Some(Weight::Heavy)),
    operates("GET", "/v1/tenants", None),
    operates("POST", "/v1/tenants", Some(Weight::Heavy)),
    operates("GET", "/v1/tenants/{name}", None),
    operates("DELETE", "/v1/tenants/{name}", Some(Weight::Heavy)),
    operates("POST", "/v1/tenants/{name}/disable", Some(Weight::Heavy)),
    operates("POST", "/v1/tenants/{name}/enable", Some(Weight::Heavy)),
    operates("GET", "/v1/tenants/{name}/quotas", None),
    operates("PATCH", "/v1/tenants/{name}/quotas", Some(Weight::Heavy)),
    sees("GET", "/v1/usage", Scope::Read),
    sees("GET", "/v1/keys", Scope::Admin),
    administers("POST", "/v1/keys"),
    administers("DELETE", "/v1/keys/{id}"),
    administers("POST", "/v1/keys/{id}/rotate"),
    sees("GET", "/v1/audit", Scope::Admin),
];

/// The route of a request; `path` as it stands in the table.
pub fn route_of(method: &Method, path: &str) -> Option<&'static Route> {
    // As the router has it, a head is a get without its body.
    let method = if method == Method::HEAD { Method::GET } else { method.clone() };
    ROUTES.iter().find(|route| route.method == method.as_str() && route.path == path)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_path_of_the_api_says_once_who_may_ask_for_it() {
        let document: serde_json::Value = serde_json::from_str(&crate::api::openapi()).expect("the document is JSON");
        let mut there = BTreeSet::new();
        for (path, methods) in document["paths"].as_object().expect("paths") {
            for method in methods.as_object().expect("methods").keys() {
                there.insert((method.to_uppercase(), path.clone()));
            }
        }
        let listed: BTreeSet<_> = ROUTES.iter().map(|it| (it.method.to_owned(), it.path.to_owned())).collect();
        assert_eq!(listed.len(), ROUTES.len(), "no path is listed twice");
        assert_eq!(there, listed);
    }

    #[test]
    fn only_health_is_open_and_whatever_is_not_a_get_is_audited_or_changes_nothing() {
        for route in ROUTES {
            assert_eq!(route.needs == Needs::Nothing, route.path == "/v1/health", "{route:?}");
            let changes_nothing =
                ["/v1/runs/{id}/replay", "/v1/store/check", "/v1/deployments/{name}/plan"].contains(&route.path);
            assert!(route.method == "GET" || changes_nothing || route.audit.is_some(), "{route:?}");
        }
    }
}
