//! Which representation a reader gets: an event stream, or a page of JSON.

use http::HeaderMap;
use http::header::ACCEPT;

use super::params;
use crate::problem::{self, Problem};

/// A representation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// `text/event-stream`.
    Stream,
    /// `application/json`.
    Json,
}

/// `?format=` decides, else `Accept`: JSON for who names it and not the event stream, the stream for all others.
///
/// # Errors
/// `invalid-parameter` for an unknown format, `not-acceptable` if `Accept` excludes both.
pub(super) fn form(format: Option<&str>, headers: &HeaderMap) -> Result<Form, Problem> {
    match format {
        Some("sse") => Ok(Form::Stream),
        Some("json") => Ok(Form::Json),
        Some(other) => {
            Err(params::invalid("format", format!("format is sse or json, not {:?}", params::echo(other))))
        }
        None => by_accept(headers).ok_or_else(|| {
            Problem::new(
                &problem::NOT_ACCEPTABLE,
                "accept text/event-stream for a live stream or application/json for a page of history",
            )
        }),
    }
}

/// What the header says of one media range.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Said {
    #[default]
    Nothing,
    Wanted,
    Excluded,
}

fn by_accept(headers: &HeaderMap) -> Option<Form> {
    let (mut stream, mut json) = (Said::Nothing, Said::Nothing);
    let (mut any_text, mut any_application, mut any) = (Said::Nothing, Said::Nothing, Said::Nothing);
    let mut empty = true;
    // A value that is no text says nothing.
    let values = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    for range in values.flat_map(|value| value.split(',')) {
        let mut parts = range.split(';').map(str::trim);
        let essence = parts.next().unwrap_or("").to_ascii_lowercase();
        let zero = |part: &str| {
            let weight = part.strip_prefix("q=").or_else(|| part.strip_prefix("Q="));
            weight.is_some_and(|weight| weight.trim_matches(['0', '.']).is_empty())
        };
        let said = if parts.any(zero) { Said::Excluded } else { Said::Wanted };
        empty &= essence.is_empty();
        match essence.as_str() {
            "text/event-stream" => stream = said,
            "application/json" => json = said,
            "text/*" => any_text = said,
            "application/*" => any_application = said,
            "*/*" => any = said,
            _ => {}
        }
    }
    // The most specific range that speaks of a type decides (RFC 9110, 12.5.1).
    let most_specific = |ranges: [Said; 3]| ranges.into_iter().find(|said| *said != Said::Nothing);
    let stream_wanted = empty || most_specific([stream, any_text, any]) == Some(Said::Wanted);
    let json_wanted = empty || most_specific([json, any_application, any]) == Some(Said::Wanted);
    let json_named = json == Said::Wanted || (any_application == Said::Wanted && json_wanted);
    match () {
        () if json_named && stream != Said::Wanted => Some(Form::Json),
        () if stream_wanted => Some(Form::Stream),
        () if json_wanted => Some(Form::Json),
        () => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[track_caller]
    fn check(accept: &[&str], expected: Option<Form>) {
        let mut headers = HeaderMap::new();
        for value in accept {
            headers.append(ACCEPT, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        assert_eq!(by_accept(&headers), expected, "{accept:?}");
    }

    #[test]
    fn accept_decides() {
        let (stream, json) = (Some(Form::Stream), Some(Form::Json));
        check(&[], stream);
        check(&[""], stream);
        check(&["\u{fc}"], stream);
        check(&["*/*"], stream);
        check(&["text/event-stream"], stream);
        check(&["Text/Event-Stream; charset=utf-8"], stream);
        check(&["text/*"], stream);
        check(&["text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"], stream);
        check(&["application/json"], json);
        check(&["application/json, text/plain, */*"], json);
        check(&["application/*"], json);
        check(&["text/html", "application/json"], json);
        check(&["application/json, text/event-stream;q=0.1"], stream);
        check(&["application/json, text/event-stream;q=0"], json);
        check(&["*/*, text/event-stream;q=0.0"], json);
        check(&["*/*, application/json;q=0"], stream);
        check(&["*/*;q=0"], None);
        check(&["text/html"], None);
        check(&["image/*, text/plain"], None);
        check(&["text/event-stream;q=0, text/*"], None);
    }

    #[test]
    fn a_format_beats_it() {
        let headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static("image/png"))]);
        assert_eq!(form(Some("sse"), &headers).unwrap(), Form::Stream);
        assert_eq!(form(Some("json"), &headers).unwrap(), Form::Json);
        assert_eq!(form(Some("xml"), &headers).unwrap_err().status(), 400);
        assert_eq!(form(None, &headers).unwrap_err().status(), 406);
    }
}
