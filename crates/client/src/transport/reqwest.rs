//! A `reqwest::Client` as the service that a transport is made of.

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use reqwest::{Body, Client};
use std::task::{Context, Poll};
use tower_service::Service;

use super::BoxFuture;

/// Requests over a [`reqwest::Client`], for a program that has one: its proxies, roots and pools.
///
/// Build it with `redirect(Policy::none())`, or reqwest follows redirects by its own rules before the source sees
/// them, and without a timeout for whole requests, which would cut streams.
///
/// ```
/// use tidings_client::{EventSource, OverReqwest};
///
/// # fn build() -> Result<(), Box<dyn std::error::Error>> {
/// let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build()?;
/// let source = EventSource::builder("http://127.0.0.1:4000/topics/news").transport(OverReqwest(client)).build()?;
/// # Ok(())
/// # }
/// # build().unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct OverReqwest(pub Client);

impl Service<Request<Full<Bytes>>> for OverReqwest {
    type Response = Response<Body>;
    type Error = reqwest::Error;
    type Future = BoxFuture<Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Full<Bytes>>) -> Self::Future {
        let client = self.0.clone();
        Box::pin(async move {
            let request = reqwest::Request::try_from(request.map(Body::wrap))?;
            Ok(client.execute(request).await?.into())
        })
    }
}
