//! `/admin/…`: what the console asks, as JSON and as a stream of events.
//!
//! **Invariant:** without a key there is what `/metrics` and `/readyz` say, and no more. Of topics somebody learns the
//! names that their key lets them read or manage; who is connected, what the configuration is, and ending connections is
//! for who may manage everything. No page of another origin reads an answer.

use std::ops::ControlFlow;
use std::sync::Arc;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use http::request::Parts;
use http::{Method, Request};
use serde_json::{Value, json};
use tidings_hub::{Selector, Selectors};

use super::{clients, sample, topics};
use crate::app::App;
use crate::gate::Access;
use crate::gate::access::Who;
use crate::problem::{self, Problem};

/// What all paths here begin with.
pub(super) const PREFIX: &str = "/admin/";
const CONNECTIONS: &str = "/admin/connections/";

/// Answers a request.
pub(super) async fn answer(app: &Arc<App>, request: Request<Body>) -> Response {
    let (mut parts, _) = request.into_parts();
    // What the gate says of origins is left out: an answer is for the console's own page.
    let access = match app.gate.admit(&mut parts) {
        ControlFlow::Continue(admitted) => admitted.access,
        ControlFlow::Break(refused) => return refused,
    };
    route(app, &access, &parts).await.unwrap_or_else(IntoResponse::into_response)
}

async fn route(app: &Arc<App>, access: &Access, parts: &Parts) -> Result<Response, Problem> {
    let path = parts.uri.path();
    if let Some(id) = path.strip_prefix(CONNECTIONS) {
        only(parts, &[Method::DELETE], "DELETE")?;
        access.may_oversee()?;
        return Ok(json_response(&clients::cut(app, id).await?));
    }
    only(parts, &[Method::GET, Method::HEAD], "GET, HEAD")?;
    let query = Query::parse(parts);
    let answer = match path {
        "/admin/overview" if parts.method == Method::GET => return Ok(sample::answer(app, &parts.headers)),
        "/admin/whoami" => whoami(access),
        "/admin/topics" => topics::list(app, access, &query).await?,
        "/admin/topic" => topics::one(app, access, &query).await?,
        "/admin/settings" => {
            access.may_oversee()?;
            json!({ "settings": app.config.shown })
        }
        "/admin/connections" => {
            access.may_oversee()?;
            clients::list(app, &query).await?
        }
        _ => return Err(Problem::new(&problem::NOT_FOUND, "nothing is here; / is the console")),
    };
    Ok(json_response(&answer))
}

fn only(parts: &Parts, methods: &[Method], allowed: &'static str) -> Result<(), Problem> {
    if methods.contains(&parts.method) {
        return Ok(());
    }
    Err(Problem::new(&problem::METHOD_NOT_ALLOWED, format!("use one of {allowed}")).allow(allowed))
}

fn whoami(access: &Access) -> Value {
    let list =
        |selectors: &Selectors| selectors.iter().map(Selector::as_str).map(Value::from).collect::<Vec<_>>();
    let key = match &access.who {
        Who::Anonymous => None,
        Who::Key { name } => Some(&**name),
    };
    json!({
        "key": key,
        "publish": list(&access.publish),
        "subscribe": list(&access.subscribe),
        "manage": list(&access.manage),
        "oversee": access.may_oversee().is_ok(),
    })
}

fn json_response(value: &Value) -> Response {
    let mut response = Response::new(Body::from(format!("{value}\n")));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// The parameters of a request.
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    fn parse(parts: &Parts) -> Self {
        let raw = parts.uri.query().unwrap_or("");
        Self(form_urlencoded::parse(raw.as_bytes()).into_owned().collect())
    }

    /// A parameter's value; empty if it is not there.
    pub(super) fn get(&self, name: &str) -> &str {
        self.0.iter().find(|pair| pair.0 == name).map_or("", |pair| &pair.1)
    }

    /// A number from 1 to a limit.
    ///
    /// # Errors
    /// `invalid-parameter` if it is none.
    pub(super) fn count(&self, name: &str, unsaid: usize, max: usize) -> Result<usize, Problem> {
        let text = self.get(name);
        if text.is_empty() {
            return Ok(unsaid);
        }
        text.parse().ok().filter(|count| (1..=max).contains(count)).ok_or_else(|| {
            Problem::new(&problem::INVALID_PARAMETER, format!("{name} is a number from 1 to {max}"))
        })
    }
}
