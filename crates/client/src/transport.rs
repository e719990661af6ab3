//! How requests go out: any `tower::Service` of HTTP requests, behind one type, so that sources and publishers
//! have no type parameters. Own ones are given to the builders; without one it is hyper ([`hyper`]).
//!
//! **Invariant:** dropping what [`Transport::send`] gave drops the exchange; nothing goes on behind.

#[cfg(feature = "hyper")]
mod hyper;
#[cfg(feature = "reqwest")]
mod reqwest;
#[cfg(feature = "hyper")]
mod tls;

use std::error::Error;
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;

use bytes::{Buf, Bytes};
use http::{Request, Response};
use http_body::Body;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use tower_service::Service;

#[cfg(feature = "reqwest")]
pub use self::reqwest::OverReqwest;
#[cfg(feature = "hyper")]
pub(crate) use self::tls::Trust;
use crate::NetworkError;

pub(crate) type BoxError = Box<dyn Error + Send + Sync>;
pub(crate) type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;
pub(crate) type AnswerBody = UnsyncBoxBody<Bytes, NetworkError>;
/// An exchange on its way.
pub(crate) type Answering = BoxFuture<Result<Response<AnswerBody>, NetworkError>>;

type Exchange = Box<dyn FnMut(Request<Full<Bytes>>) -> Answering + Send>;

/// Sends requests.
pub(crate) struct Transport(Exchange);

impl Transport {
    /// Over a service of anybody's.
    pub(crate) fn over<S, B>(service: S) -> Self
    where
        S: Service<Request<Full<Bytes>>, Response = Response<B>> + Clone + Send + 'static,
        S::Future: Send,
        S::Error: Into<BoxError>,
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<BoxError>,
    {
        Self(Box::new(move |request| {
            // Each exchange makes its own clone ready: readiness cannot be kept while nothing is to be sent.
            let mut service = service.clone();
            Box::pin(async move {
                poll_fn(|cx| service.poll_ready(cx)).await.map_err(|error| network_error(error.into()))?;
                let answer = service.call(request).await.map_err(|error| network_error(error.into()))?;
                Ok(answer.map(|body| {
                    body.map_frame(|frame| frame.map_data(whole))
                        .map_err(NetworkError::connected)
                        .boxed_unsync()
                }))
            })
        }))
    }

    pub(crate) fn send(&mut self, request: Request<Full<Bytes>>) -> Answering {
        (self.0)(request)
    }
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Transport")
    }
}

/// Costs nothing where the data is `Bytes` already.
fn whole(mut data: impl Buf) -> Bytes {
    let len = data.remaining();
    data.copy_to_bytes(len)
}

/// Whether a connection was had cannot be asked of any error, only of those of known clients. Others count as
/// failures of a connection.
fn network_error(error: BoxError) -> NetworkError {
    let first: &(dyn Error + 'static) = error.as_ref();
    let connecting = std::iter::successors(Some(first), |&error| error.source()).any(|error| {
        #[cfg(feature = "hyper")]
        if error.downcast_ref::<hyper_util::client::legacy::Error>().is_some_and(|error| error.is_connect()) {
            return true;
        }
        #[cfg(feature = "reqwest")]
        if error.downcast_ref::<::reqwest::Error>().is_some_and(::reqwest::Error::is_connect) {
            return true;
        }
        matches!(error.downcast_ref::<NetworkError>(), Some(error) if error.is_connecting())
    });
    if connecting { NetworkError::connecting(error) } else { NetworkError::connected(error) }
}
