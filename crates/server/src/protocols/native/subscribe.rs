//! `GET` and `HEAD` of one topic or of many: from the request to what is asked of the hub, and the stream.

use std::sync::Arc;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_TYPE, USER_AGENT};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use tidings_hub::{
    CursorBlock, EventName, Filter, From, InvalidSelector, Position, Resume, ResumePoint, Selector,
    Selectors, Subscribe, SubscribeError,
};

use super::history::{self, Paging};
use super::negotiate::{self, Form};
use super::params::{self, Query};
use super::{TIDINGS_POSITION, header_value, path, topic};
use crate::app::App;
use crate::front::carry::Carry;
use crate::front::held::Held;
use crate::gate::Access;
use crate::problem::{self, Problem};

const ONE: &[&str] =
    &["conflate", "cursor", "event", "format", "from", "last_event_id", "limit", "topic", "wait"];
const MANY: &[&str] =
    &["conflate", "cursor", "event", "format", "from", "label", "last_event_id", "limit", "topic", "wait"];

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");
pub(super) const TIDINGS_RESUME: HeaderName = HeaderName::from_static("tidings-resume");

/// Reads one topic.
///
/// # Errors
/// What is wrong with the request, or why there is nothing for it.
pub(super) async fn one_topic(app: &Arc<App>, access: &Access, parts: &Parts) -> Result<Response, Problem> {
    let query = Query::parse(parts.uri.query(), ONE)?;
    let name = path::topic(parts.uri.path(), &query)?;
    let selectors = vec![Selector::Exact(name.clone())];
    let ask = Ask::parse(access, parts, &query, selectors)?;
    if parts.method == Method::HEAD {
        return Ok(topic::head(app, Some(&name)));
    }
    ask.answer(app, parts).await
}

/// Reads the topics of one or more selectors.
///
/// # Errors
/// As [`one_topic`].
pub(super) async fn many_topics(app: &Arc<App>, access: &Access, parts: &Parts) -> Result<Response, Problem> {
    let query = Query::parse(parts.uri.query(), MANY)?;
    let limit = app.hub.limits().selectors_max;
    let mut selectors = Vec::new();
    for text in query.all("topic") {
        if selectors.len() == limit {
            return Err(too_many_selectors(limit));
        }
        selectors.push(Selector::parse(text).map_err(|error| invalid_selector(&error))?);
    }
    if selectors.is_empty() {
        let detail =
            "name what to read: ?topic=NAME, once or more; '*' and '**' stand for any part of a name";
        return Err(params::invalid("topic", detail));
    }
    let ask = Ask::parse(access, parts, &query, selectors)?;
    if parts.method == Method::HEAD {
        return Ok(topic::head(app, None));
    }
    ask.answer(app, parts).await
}

/// What a request asks for, checked and allowed.
struct Ask {
    subscribe: Subscribe,
    form: Form,
    paging: Paging,
}

impl Ask {
    fn parse(
        access: &Access,
        parts: &Parts,
        query: &Query,
        selectors: Vec<Selector>,
    ) -> Result<Self, Problem> {
        for selector in &selectors {
            access.may_subscribe(selector)?;
        }
        let events = query.all("event").map(params::event_name).collect::<Result<Vec<EventName>, _>>()?;
        let form = negotiate::form(query.one("format")?, &parts.headers)?;
        // `label` belongs to both: a page of history always names the topics.
        let (wrong, of): (&[_], _) = match form {
            Form::Stream => (&["limit", "wait"], "a page of history: ask for it with ?format=json"),
            Form::Json => (&["cursor"], "an event stream: ask for it with ?format=sse"),
        };
        for parameter in wrong {
            if query.all(parameter).next().is_some() {
                return Err(params::invalid(parameter, format!("{parameter} belongs to {of}")));
            }
        }
        let unsaid = if form == Form::Stream { From::Tail } else { From::Start };
        let subscribe = Subscribe {
            filter: Filter::topics(Selectors::new(selectors)).with_events(events),
            from: from(&parts.headers, query)?.unwrap_or(unsaid),
            grant: Arc::clone(&access.grant),
            label: query.flag("label")?,
            conflate: query.flag("conflate")?,
            cursor_block: cursor_block(&parts.headers, query)?,
        };
        Ok(Self { subscribe, form, paging: Paging::parse(query)? })
    }

    async fn answer(self, app: &Arc<App>, parts: &Parts) -> Result<Response, Problem> {
        match (self.form, parts.extensions.get::<Carry>()) {
            (Form::Stream, Some(carry)) => match app.hub.carry(self.subscribe) {
                Ok(carried) => {
                    let (resume, position) = (carried.resume, carried.position);
                    carry.put(carried);
                    Ok(stream(resume, position, Body::empty()))
                }
                Err(SubscribeError::Ended { at }) => Ok(over(at)),
                Err(error) => refused(app, parts, &error),
            },
            (Form::Stream, None) => match app.hub.subscribe(self.subscribe) {
                Ok(subscription) => {
                    let (resume, position) = (subscription.resume(), subscription.position());
                    let body = match parts.extensions.get::<Arc<Held>>() {
                        Some(held) => {
                            held.note_stream(&selected(subscription.filter()));
                            Body::new(held.carry(subscription))
                        }
                        None => Body::new(subscription),
                    };
                    Ok(stream(resume, position, body))
                }
                Err(SubscribeError::Ended { at }) => Ok(over(at)),
                Err(error) => refused(app, parts, &error),
            },
            (Form::Json, _) => match app.hub.read(self.subscribe) {
                Ok(reader) => history::answer(app, reader, self.paging).await,
                Err(SubscribeError::Ended { at }) => Ok(history::ended(at)),
                Err(error) => refused(app, parts, &error),
            },
        }
    }
}

/// What a filter selects, in a line.
pub(crate) fn selected(filter: &Filter) -> String {
    /// Selectors that are named.
    const NAMED_MAX: usize = 8;
    let selectors = filter.selectors();
    let mut text: Vec<&str> = selectors.iter().take(NAMED_MAX).map(Selector::as_str).collect();
    if selectors.len() > NAMED_MAX {
        text.push("…");
    }
    text.join(", ")
}

/// The header `Last-Event-ID` beats `?last_event_id=`, that beats `?from=`: the header is what a client really
/// saw last, the query what its page was written with.
fn from(headers: &HeaderMap, query: &Query) -> Result<Option<From>, Problem> {
    let asked = query.one("from")?.map(parse_from).transpose()?;
    let in_query = query.one("last_event_id")?.and_then(|id| ResumePoint::parse(id.as_bytes()));
    let in_header = headers.get(LAST_EVENT_ID).and_then(|id| ResumePoint::parse(id.as_bytes()));
    Ok(in_header.or(in_query).map(From::After).or(asked))
}

fn parse_from(text: &str) -> Result<From, Problem> {
    match text {
        "start" => Ok(From::Start),
        "last" => Ok(From::Last),
        "tail" => Ok(From::Tail),
        _ => text
            .strip_prefix("id:")
            .and_then(|id| ResumePoint::parse(id.as_bytes()))
            .map(From::After)
            .ok_or_else(|| {
                params::invalid("from", "from is start, last, tail or id:ID with the id of an event")
            }),
    }
}

/// Gecko keeps no id of a block that has only an id, against the standard; it does of an event nobody listens to.
fn cursor_block(headers: &HeaderMap, query: &Query) -> Result<CursorBlock, Problem> {
    match query.one("cursor")? {
        Some("id") => Ok(CursorBlock::IdOnly),
        Some("event") => Ok(CursorBlock::Event),
        Some(_) => Err(params::invalid("cursor", "cursor is id or event")),
        None => {
            let agent = headers.get(USER_AGENT).and_then(|agent| agent.to_str().ok()).unwrap_or("");
            let is_gecko = agent.contains("Gecko/") && agent.contains("Firefox/");
            Ok(if is_gecko { CursorBlock::Event } else { CursorBlock::IdOnly })
        }
    }
}

/// An EventSource that meets a 204 does not come again.
fn over(at: Position) -> Response {
    (StatusCode::NO_CONTENT, [(TIDINGS_POSITION, header_value(&at))]).into_response()
}

fn stream(resume: Resume, position: Position, body: Body) -> Response {
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static("text/event-stream")),
        (X_ACCEL_BUFFERING, HeaderValue::from_static("no")),
        (TIDINGS_RESUME, HeaderValue::from_static(resume.as_str())),
        (TIDINGS_POSITION, header_value(&position)),
    ];
    (headers, body).into_response()
}

fn refused(app: &App, parts: &Parts, error: &SubscribeError) -> Result<Response, Problem> {
    match *error {
        SubscribeError::Full { limit, subscribers } => Ok(app.overload_response(parts, subscribers, limit)),
        SubscribeError::Draining => Ok(app.draining_response(parts)),
        SubscribeError::TooManySelectors { limit } => Err(too_many_selectors(limit)),
        SubscribeError::TooManyTopics { limit } => {
            let detail = format!("from=last and conflate look up at most {limit} topics; select fewer");
            Err(Problem::new(&problem::TOO_MANY_TOPICS, detail).with("limit", limit))
        }
        SubscribeError::TooManyEventTypes { limit } => {
            let detail =
                format!("a subscription filters by at most {limit} event types; leave out ?event= for all");
            Err(params::invalid("event", detail).with("limit", limit))
        }
        // `Ended` was answered before.
        _ => Err(Problem::new(&problem::INTERNAL, error.to_string())),
    }
}

fn too_many_selectors(limit: usize) -> Problem {
    let detail = format!("a subscription has at most {limit} selectors; use a glob or open another");
    Problem::new(&problem::TOO_MANY_SELECTORS, detail).with("limit", limit)
}

fn invalid_selector(error: &InvalidSelector) -> Problem {
    let kind = match error {
        InvalidSelector::Name(_) => &problem::INVALID_TOPIC,
        InvalidSelector::Syntax { .. } => &problem::INVALID_SELECTOR,
    };
    Problem::new(kind, error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(header: Option<&[u8]>, query: &str, expected: &str) {
        let query = Query::parse(Some(query), ONE).unwrap();
        let headers = header.map(|id| (LAST_EVENT_ID, HeaderValue::from_bytes(id).unwrap()));
        let found = from(&HeaderMap::from_iter(headers), &query);
        let found = match found {
            Ok(None) => "unsaid".to_owned(),
            Ok(Some(From::Start)) => "start".to_owned(),
            Ok(Some(From::Last)) => "last".to_owned(),
            Ok(Some(From::Tail)) => "tail".to_owned(),
            Ok(Some(From::After(ResumePoint::Position(position)))) => position.to_string(),
            Ok(Some(From::After(ResumePoint::Foreign(text)))) => format!("foreign {text}"),
            Err(problem) => problem.kind().slug.to_owned(),
        };
        assert_eq!(found, expected);
    }

    #[test]
    fn where_to_begin() {
        check(None, "", "unsaid");
        check(None, "from=start", "start");
        check(None, "from=last", "last");
        check(None, "from=tail", "tail");
        check(None, "from=id:1.2n9c~order-7", "1.2n9c");
        check(None, "from=id:42", "foreign 42");
        check(None, "from=start&last_event_id=1.5", "1.5");
        check(Some(b"1.6"), "from=start&last_event_id=1.5", "1.6");
        check(Some(b""), "from=start&last_event_id=1.5", "1.5");
        check(Some(b""), "last_event_id=&from=last", "last");
        check(Some(b"\xff"), "", "foreign \u{fffd}");
        for bad in ["from=", "from=id:", "from=1.5", "from=first", "from=start&from=last"] {
            check(None, bad, "invalid-parameter");
        }
        check(Some(b"1.6"), "from=first", "invalid-parameter");
    }

    #[test]
    fn firefox_gets_its_own_cursor_blocks() {
        let agent = |agent: &'static str, query: &str| {
            let headers = HeaderMap::from_iter([(USER_AGENT, HeaderValue::from_static(agent))]);
            cursor_block(&headers, &Query::parse(Some(query), ONE).unwrap())
        };
        let firefox = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";
        let chrome = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0 Safari/537.36";
        assert_eq!(agent(firefox, "").unwrap(), CursorBlock::Event);
        assert_eq!(agent(chrome, "").unwrap(), CursorBlock::IdOnly);
        assert_eq!(agent(firefox, "cursor=id").unwrap(), CursorBlock::IdOnly);
        assert_eq!(agent(chrome, "cursor=event").unwrap(), CursorBlock::Event);
        assert!(agent(chrome, "cursor=none").is_err());
    }
}
