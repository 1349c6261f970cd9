//! What every request passes: it is let through to its handler if somebody says so, what nobody is to see is masked in
//! its answer, and what it changed goes into the audit log. It knows no handler.

use axum::extract::{MatchedPath, Request, State};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::OwnedRwLockReadGuard;

use super::door::{Caller, Door, Peer, Who};
use super::mask::Rules;
use super::problem::Refusal;
use super::routes::Common;
use super::scopes::{Needs, Route, route_of};
use crate::host::{AuditLine, Host, Redacted, Weight};
use crate::{Code, Error};

/// Paths of tenants themselves.
const TENANTS: &str = "/v1/tenants";
/// Of a request whose client went away before it was answered: what came of it is not known.
const CLIENT_GONE: u16 = 499;

pub struct Gate {
    pub door: Arc<Door>,
    pub common: Common,
}

pub async fn pass(State(gate): State<Arc<Gate>>, mut request: Request, next: Next) -> Response {
    let (method, path, began) = (request.method().clone(), request.uri().path().to_owned(), Instant::now());
    let matched = request.extensions().get::<MatchedPath>().map(|matched| matched.as_str().to_owned());
    let route = matched.and_then(|matched| route_of(&method, &matched));
    let (mut line, mut of_tenant, mut tenant) = (None, None, None);
    if route.is_none_or(|route| route.needs != Needs::Nothing) {
        let from = request.extensions().get::<Peer>().map(|peer| peer.0);
        let caller = match gate.door.caller(&gate.common.host, request.headers(), from).await {
            Ok(caller) => caller,
            Err(error) => return Refusal::from(error).into_response(),
        };
        let host = gate.common.host.of(caller.tenant.id);
        if Rules::of(route) == Rules::Tenant {
            // Before anything is read: a tenant that is deleted meanwhile is still masked as it wanted.
            of_tenant = match host.redacted().await {
                Ok(redacted) => Some(redacted),
                Err(error) => return Refusal::from(error).into_response(),
            };
        }
        // What no route names gets nothing to work with: its answer is that there is no such thing.
        if let Some(route) = route {
            tenant = Some(Arc::clone(&host));
            line = match Line::of(&gate.common.host, &host, route, &caller, &method, &path).await {
                Ok(line) => line,
                Err(error) => return Refusal::from(error).into_response(),
            };
            if let Err(error) = caller.check(route.needs) {
                return end(line, Refusal::from(error).into_response()).await;
            }
            request.extensions_mut().insert(gate.common.api(host));
        }
    }
    let answer = answer(Arc::clone(&gate), route, of_tenant, next, request);
    // From here on it is known whose it is: it computes in turns with what others ask for.
    let answer = async move {
        match tenant {
            Some(host) => host.share(Box::pin(answer)).await,
            None => answer.await,
        }
    };
    let response = if line.as_ref().is_some_and(|line| line.weight == Weight::Heavy) {
        // It is carried out and written down also where its client goes away.
        let answering = tokio::spawn(async move { end(line, answer.await).await }).await;
        answering.unwrap_or_else(|_| bug())
    } else {
        end(line, answer.await).await
    };
    tracing::debug!(%method, path, status = response.status().as_u16(), elapsed = ?began.elapsed(), "answered");
    response
}

/// Answers also for a handler that panicked.
async fn answer(
    gate: Arc<Gate>,
    route: Option<&'static Route>,
    of_tenant: Option<Arc<Redacted>>,
    next: Next,
    request: Request,
) -> Response {
    let masked = async { gate.door.mask.apply(route, of_tenant, next.run(request).await).await };
    let answered = AssertUnwindSafe(masked).catch_unwind().await;
    answered.unwrap_or_else(|_| bug())
}

fn bug() -> Response {
    Refusal::new(Code::Internal, "a bug in the server ended this request").into_response()
}

async fn end(line: Option<Line>, response: Response) -> Response {
    let Some(line) = line else { return response };
    let heavy = line.weight == Weight::Heavy;
    let code = response.extensions().get::<Code>().copied();
    match line.end(response.status().as_u16(), code).await {
        Ok(()) => response,
        // It may be done, and it was not written down: nobody is told that all is well.
        Err(error) if heavy && response.status().is_success() => Refusal::from(error).into_response(),
        Err(_) => response,
    }
}

/// A line of the audit log that waits for its end. Dropped without one, its client has gone.
struct Line {
    host: Arc<Host>,
    weight: Weight,
    line: Option<AuditLine>,
    /// Nobody deletes the tenant meanwhile.
    _changing: Option<OwnedRwLockReadGuard<()>>,
}

impl Line {
    /// `None`: the route changes nothing.
    async fn of(
        operator: &Arc<Host>,
        tenant: &Arc<Host>,
        route: &Route,
        caller: &Caller,
        method: &Method,
        path: &str,
    ) -> Result<Option<Line>, Error> {
        let Some(weight) = route.audit else { return Ok(None) };
        // What concerns all tenants stands in the operator's own log.
        let host = if route.needs == Needs::Operator { operator } else { tenant };
        // A policy is the tenant's, whoever sets it; what is done to tenants themselves waits for others by itself.
        let changed = if route.path.starts_with(TENANTS) { operator } else { tenant };
        let changing = changed.changing().await?;
        let name = match &caller.who {
            Who::Operator | Who::Token { .. } => None,
            Who::Key { name, .. } => Some(name.to_string()),
        };
        let line = AuditLine {
            time: host.now(),
            who: caller.who.to_string(),
            name,
            from: caller.from.map(|from| from.to_string()),
            what: format!("{method} {path}"),
            status: CLIENT_GONE,
            code: None,
        };
        Ok(Some(Line { host: Arc::clone(host), weight, line: Some(line), _changing: changing }))
    }

    async fn end(mut self, status: u16, code: Option<Code>) -> Result<(), Error> {
        let Some(line) = self.line.take() else { return Ok(()) };
        let line = AuditLine { status, code: code.map(|code| code.text().to_owned()), ..line };
        self.host.audit(line, self.weight).await
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        if let Some(line) = self.line.take() {
            self.host.audit_later(line);
        }
    }
}
