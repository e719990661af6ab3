//! What the head of an answer says. Pure.

use http::{HeaderMap, header};

use crate::SourceError;

/// Whether a 200 is an event stream: by the essence of its type alone, whatever its parameters say.
pub(super) fn check_stream(headers: &HeaderMap) -> Result<(), SourceError> {
    // The last one counts where there are several (Fetch, "extract a MIME type").
    let content_type = text(headers, &header::CONTENT_TYPE);
    let essence = content_type.as_deref().and_then(|value| value.split(';').next()).unwrap_or_default();
    if !essence.trim().eq_ignore_ascii_case("text/event-stream") {
        return Err(SourceError::WrongType { content_type });
    }
    match text(headers, &header::CONTENT_ENCODING) {
        // Nothing was offered, so anything else is a mistake, and would be read as garbage without a word.
        Some(content_encoding) if !content_encoding.trim().eq_ignore_ascii_case("identity") => {
            Err(SourceError::Encoded { content_encoding })
        }
        _ => Ok(()),
    }
}

/// `Retry-After` in seconds. A date is not read: clocks differ, and the backoff is there.
pub(super) fn retry_after_ms(headers: &HeaderMap) -> Option<u64> {
    let value = headers.get(header::RETRY_AFTER)?.as_bytes();
    if value.is_empty() {
        return None;
    }
    let seconds = value.iter().try_fold(0_u64, |number, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        Some(number.saturating_mul(10).saturating_add(digit))
    })?;
    Some(seconds.saturating_mul(1_000))
}

fn text(headers: &HeaderMap, name: &header::HeaderName) -> Option<String> {
    let value = headers.get_all(name).iter().next_back()?;
    Some(String::from_utf8_lossy(value.as_bytes()).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(header::HeaderName, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(name, header::HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn the_essence_decides() {
        let check = |value, is_stream: bool| {
            let checked = check_stream(&headers(&[(header::CONTENT_TYPE, value)]));
            assert_eq!(checked.is_ok(), is_stream, "{value}: {checked:?}");
        };
        check("text/event-stream", true);
        check("Text/Event-Stream", true);
        check("text/event-stream;charset=utf-8", true);
        check("text/event-stream ; charset=windows-1252", true);
        check("text/event-stream;", true);
        check("text/event-streams", false);
        check("text/event-stream charset=utf-8", false);
        check("text/plain; text/event-stream", false);
        check("", false);
        assert!(matches!(
            check_stream(&HeaderMap::new()),
            Err(SourceError::WrongType { content_type: None })
        ));
    }

    #[test]
    fn the_last_type_counts() {
        let types = [(header::CONTENT_TYPE, "text/html"), (header::CONTENT_TYPE, "text/event-stream")];
        assert!(check_stream(&headers(&types)).is_ok());
    }

    #[test]
    fn an_encoding_that_was_not_asked_for_is_refused() {
        let check = |coding, is_ok: bool| {
            let both = [(header::CONTENT_TYPE, "text/event-stream"), (header::CONTENT_ENCODING, coding)];
            assert_eq!(check_stream(&headers(&both)).is_ok(), is_ok, "{coding}");
        };
        check("identity", true);
        check("gzip", false);
        check("br", false);
    }

    #[test]
    fn retry_after_is_seconds() {
        let check = |value, ms: Option<u64>| {
            assert_eq!(retry_after_ms(&headers(&[(header::RETRY_AFTER, value)])), ms, "{value}");
        };
        check("0", Some(0));
        check("120", Some(120_000));
        check("99999999999999999999999", Some(u64::MAX));
        check("", None);
        check("+5", None);
        check("1.5", None);
        check("Wed, 21 Oct 2015 07:28:00 GMT", None);
    }
}
