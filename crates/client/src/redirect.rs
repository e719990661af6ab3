//! Where a request goes: the first URL, and the next one after a redirect (Fetch, "HTTP-redirect fetch").
//! Pure. **Invariant:** a hop to another origin carries no credentials, nor does any hop after it.

use http::{HeaderMap, Method, StatusCode, Uri, header};
use url::Url;

use crate::{Disconnect, SourceError};

/// More than these in one attempt are taken for a loop (Fetch allows as many).
pub(crate) const REDIRECTS_MAX: u8 = 20;

/// A URL that a request can be made for.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    url: Url,
    uri: Uri,
}

impl Target {
    /// Takes an absolute http or https URL; a fragment and user information are no part of the target.
    pub(crate) fn new(mut url: Url) -> Result<Self, String> {
        if !matches!(url.scheme(), "http" | "https") {
            return Err(format!("the scheme is {}, not http or https", url.scheme()));
        }
        url.set_fragment(None);
        // These only fail for a URL without a host, and http URLs have one.
        let _ = url.set_username("");
        let _ = url.set_password(None);
        match Uri::try_from(url.as_str()) {
            Ok(uri) => Ok(Self { url, uri }),
            Err(error) => Err(error.to_string()),
        }
    }

    pub(crate) fn uri(&self) -> &Uri {
        &self.uri
    }

    pub(crate) fn is_tls(&self) -> bool {
        self.url.scheme() == "https"
    }
}

/// One request of an attempt.
#[derive(Clone, Debug)]
pub(crate) struct Hop {
    pub(crate) target: Target,
    pub(crate) method: Method,
    /// Whether the caller's body goes along.
    pub(crate) with_body: bool,
    /// Whether `Authorization` and `Cookie` go along.
    pub(crate) with_credentials: bool,
    /// How many redirects led here.
    pub(crate) redirects: u8,
}

/// A redirect that is not followed.
#[derive(Debug)]
pub(crate) enum Refused {
    /// A loop, which may have ended by the next attempt.
    Now(Disconnect),
    /// It leads nowhere.
    ForGood(SourceError),
}

impl Hop {
    /// The first request of an attempt.
    pub(crate) fn first(target: Target, method: Method) -> Self {
        Self { target, method, with_body: true, with_credentials: true, redirects: 0 }
    }

    /// The next request, if `status` is a redirect.
    pub(crate) fn follow(&self, status: StatusCode, headers: &HeaderMap) -> Result<Option<Self>, Refused> {
        if !matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308) {
            return Ok(None);
        }
        let location = headers.get(header::LOCATION).map(|value| String::from_utf8_lossy(value.as_bytes()));
        let bad = |location| Refused::ForGood(SourceError::BadRedirect { status, location });
        let Some(location) = location.filter(|location| !location.trim().is_empty()) else {
            return Err(bad(None));
        };
        let Some(target) = self.target.url.join(&location).ok().and_then(|url| Target::new(url).ok()) else {
            return Err(bad(Some(location.into_owned())));
        };
        if self.redirects >= REDIRECTS_MAX {
            return Err(Refused::Now(Disconnect::TooManyRedirects { redirects_max: REDIRECTS_MAX }));
        }
        // 303 asks for a GET; 301 and 302 turn a POST into one, by long habit.
        let becomes_get = match status.as_u16() {
            303 => !matches!(self.method, Method::GET | Method::HEAD),
            301 | 302 => self.method == Method::POST,
            _ => false,
        };
        let same_origin = target.url.origin() == self.target.url.origin();
        Ok(Some(Self {
            target,
            method: if becomes_get { Method::GET } else { self.method.clone() },
            with_body: self.with_body && !becomes_get,
            with_credentials: self.with_credentials && same_origin,
            redirects: self.redirects + 1,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hop(method: Method) -> Hop {
        let url = Url::parse("http://hub.test/topics/a?x=1#here").unwrap();
        Hop::first(Target::new(url).unwrap(), method)
    }

    fn follow(hop: &Hop, status: u16, location: Option<&[u8]>) -> Result<Option<Hop>, Refused> {
        let mut headers = HeaderMap::new();
        if let Some(location) = location {
            headers.insert(header::LOCATION, location.try_into().unwrap());
        }
        hop.follow(StatusCode::from_u16(status).unwrap(), &headers)
    }

    #[track_caller]
    fn leads(status: u16, location: &str, uri: &str, with_credentials: bool) -> Hop {
        let next = follow(&hop(Method::GET), status, Some(location.as_bytes())).unwrap().unwrap();
        assert_eq!((next.target.uri().to_string().as_str(), next.with_credentials), (uri, with_credentials));
        next
    }

    #[test]
    fn a_location_is_relative_to_the_request() {
        leads(301, "/b", "http://hub.test/b", true);
        leads(302, "b?y", "http://hub.test/topics/b?y", true);
        leads(303, "?z", "http://hub.test/topics/a?z", true);
        leads(307, "http://HUB.test:80/c#gone", "http://hub.test/c", true);
        leads(308, "http://u:p@hub.test/c", "http://hub.test/c", true);
        leads(307, "/caf\u{e9}", "http://hub.test/caf%C3%A9", true);
    }

    #[test]
    fn another_origin_gets_no_credentials_and_gives_none_back() {
        leads(307, "https://hub.test/c", "https://hub.test/c", false);
        leads(307, "http://hub.test:81/c", "http://hub.test:81/c", false);
        let away = leads(307, "//other.test/c", "http://other.test/c", false);
        let on = follow(&away, 307, Some(b"/d")).unwrap().unwrap();
        assert!(!on.with_credentials, "the same origin as the hop before, but not as the first");
        let back = follow(&on, 307, Some(b"http://hub.test/")).unwrap().unwrap();
        assert!(!back.with_credentials);
    }

    #[test]
    fn the_method_changes_as_in_fetch() {
        let check = |status, method: Method, becomes: Method| {
            let with_body = method == becomes;
            let next = follow(&hop(method), status, Some(b"/b")).unwrap().unwrap();
            assert_eq!((next.method, next.with_body), (becomes, with_body), "{status}");
        };
        for status in [301, 302] {
            check(status, Method::POST, Method::GET);
            check(status, Method::PUT, Method::PUT);
        }
        check(303, Method::PUT, Method::GET);
        for status in [307, 308] {
            check(status, Method::POST, Method::POST);
        }
    }

    #[test]
    fn what_is_no_redirect_is_left_alone() {
        for status in [200, 204, 300, 304, 305, 306, 399, 400] {
            assert!(follow(&hop(Method::GET), status, Some(b"/b")).unwrap().is_none(), "{status}");
        }
    }

    #[test]
    fn a_location_that_leads_nowhere_ends_it() {
        for location in
            [None, Some(&b""[..]), Some(b"  "), Some(b"ftp://hub.test/"), Some(b"http://"), Some(b"data:,x")]
        {
            let refused = follow(&hop(Method::GET), 301, location).unwrap_err();
            assert!(matches!(refused, Refused::ForGood(SourceError::BadRedirect { .. })), "{location:?}");
        }
    }

    #[test]
    fn the_twenty_first_is_a_loop() {
        let mut at = hop(Method::GET);
        for _ in 0..REDIRECTS_MAX {
            at = follow(&at, 302, Some(b"/again")).unwrap().unwrap();
        }
        let refused = follow(&at, 302, Some(b"/again")).unwrap_err();
        assert!(matches!(refused, Refused::Now(Disconnect::TooManyRedirects { redirects_max: 20 })));
    }
}
