//! Secrets in request targets: found by name however the name is spelt, and kept out of logs and of what comes
//! behind the gate.

use std::borrow::Cow;

use http::Uri;

/// The query parameter that may carry a key.
pub const TOKEN_PARAMETER: &str = "access_token";

/// Parameters whose values are secrets.
const SECRET_PARAMETERS: [&str; 2] = [TOKEN_PARAMETER, "authorization"];

/// A request target as logs may have it: the values of secret parameters are `***`.
///
/// ```
/// let target = "/topics/a?access%5Ftoken=s3cret&from=start".parse().unwrap();
/// assert_eq!(tidings_server::gate::scrub::target(&target), "/topics/a?access%5Ftoken=***&from=start");
/// ```
pub fn target(uri: &Uri) -> String {
    let Some(query) = uri.query() else { return uri.path().to_owned() };
    let pieces = query.split('&').map(|piece| match piece.split_once('=') {
        Some((name, _)) if is_secret(name) => Cow::Owned(format!("{name}=***")),
        _ => Cow::Borrowed(piece),
    });
    format!("{}?{}", uri.path(), pieces.collect::<Vec<_>>().join("&"))
}

/// The target without the key, for everything behind the gate; `None` if there is no key in it.
pub(crate) fn without_key(uri: &Uri) -> Option<Uri> {
    let query = uri.query()?;
    let is_key = |piece: &&str| decode(piece.split('=').next().unwrap_or("")) == TOKEN_PARAMETER;
    if !query.split('&').any(|piece| is_key(&piece)) {
        return None;
    }
    let rest = query.split('&').filter(|piece| !is_key(piece)).collect::<Vec<_>>().join("&");
    let target = if rest.is_empty() { uri.path().to_owned() } else { format!("{}?{rest}", uri.path()) };
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(target.parse().ok()?);
    Uri::from_parts(parts).ok()
}

/// The parameters of a query, decoded as forms are.
pub(crate) fn pairs(query: &str) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
    form_urlencoded::parse(query.as_bytes())
}

fn is_secret(name: &str) -> bool {
    let decoded = decode(name);
    SECRET_PARAMETERS.iter().any(|secret| decoded.eq_ignore_ascii_case(secret))
}

fn decode(name: &str) -> Cow<'_, str> {
    pairs(name).next().map_or(Cow::Borrowed(""), |(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_found_however_they_are_spelt() {
        let check = |given: &str, logged: &str, passed_on: Option<&str>| {
            let uri: Uri = given.parse().unwrap();
            assert_eq!(target(&uri), logged, "{given}");
            assert_eq!(without_key(&uri).map(|uri| uri.to_string()).as_deref(), passed_on, "{given}");
        };
        check("/a", "/a", None);
        check("/a?b=c", "/a?b=c", None);
        check("/a?access_token=x", "/a?access_token=***", Some("/a"));
        check("/a?b&access_token=x&c=d", "/a?b&access_token=***&c=d", Some("/a?b&c=d"));
        check("/a?%61ccess%5Ftoken=x&access_token=y", "/a?%61ccess%5Ftoken=***&access_token=***", Some("/a"));
        check("/a?authorization=x", "/a?authorization=***", None);
        check("/a?ACCESS_TOKEN=x", "/a?ACCESS_TOKEN=***", None);
        check("/a?access_token", "/a?access_token", Some("/a"));
        check("http://h/a?access_token=x", "/a?access_token=***", Some("http://h/a"));
    }
}
