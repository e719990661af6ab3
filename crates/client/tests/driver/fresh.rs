//! What the caller makes anew for an attempt: URL, headers and body, and what a redirect or a failure makes of it.

use http::Method;
use tidings_client::{EventId, Fresh, SourceEvent};

use crate::server::{STREAM, Server, says, write};
use crate::{source, tells, told};

#[tokio::test]
async fn url_body_and_headers_are_made_for_each_attempt_with_the_id_at_hand() {
    let mut first = Server::start(vec![says(STREAM, "id: 7\ndata: a\n\n"), says(STREAM, "")]).await;
    let mut second = Server::start(vec![says(STREAM, "data: b\n\n")]).await;
    let urls = [first.url("/stream"), second.url("/elsewhere?x=1"), first.url("/stream")];
    let source = source(&first).method(Method::POST).body("never").header("x-a", "1").fresh(move |next| {
        let url = urls[usize::try_from(next.before).expect("a small number")].clone();
        async move {
            tokio::task::yield_now().await;
            let fresh = Fresh::new().header("x-token", &format!("t{}", next.before));
            let fresh = fresh.body(format!("after {:?}", next.last_event_id.as_str()));
            // The first attempt goes where the builder says.
            Ok(if next.before == 0 { fresh } else { fresh.url(&url) })
        }
    });
    let mut source = source.build().expect("a source");
    let lost = "lost: the stream ended, again in 5";
    tells(&mut source, &["open 200", "message \"a\" after \"7\"", lost]).await;
    tells(&mut source, &["open 200", "message \"b\" after \"7\"", lost, "open 200"]).await;
    let requests = [first.request().await, second.request().await, first.request().await];
    let seen: Vec<_> = requests
        .iter()
        .map(|request| (request.line(), request.header("x-token"), request.header("x-a"), request.body()))
        .collect();
    assert_eq!(
        seen,
        [
            ("POST /stream HTTP/1.1", Some("t0"), Some("1"), "after \"\""),
            ("POST /elsewhere?x=1 HTTP/1.1", Some("t1"), Some("1"), "after \"7\""),
            ("POST /stream HTTP/1.1", Some("t2"), Some("1"), "after \"7\""),
        ]
    );
    assert_eq!(requests[1].header("last-event-id"), Some("7"));
    assert_eq!(requests[1].header("host"), Some(second.address().to_string().as_str()));
}

#[tokio::test]
async fn a_url_holds_for_its_attempt_and_no_later_one() {
    let mut first = Server::start(vec![says(STREAM, "")]).await;
    let mut other = Server::start(vec![says(STREAM, "")]).await;
    let away = other.url("/away");
    let source = source(&first).fresh(move |next| {
        let fresh = if next.before == 0 { Fresh::new().url(&away) } else { Fresh::new() };
        async { Ok(fresh) }
    });
    let mut source = source.build().expect("a source");
    tells(&mut source, &["open 200", "lost: the stream ended, again in 5", "open 200"]).await;
    assert_eq!(other.request().await.line(), "GET /away HTTP/1.1");
    assert_eq!(first.request().await.line(), "GET /stream HTTP/1.1");
}

#[tokio::test]
async fn what_was_made_stays_with_redirects_and_its_credentials_with_its_origin() {
    let mut last = Server::start(vec![says(STREAM, "")]).await;
    let there = format!("HTTP/1.1 307 There\r\nLocation: {}\r\nContent-Length: 0\r\n\r\n", last.url("/c"));
    let here = "HTTP/1.1 307 Here\r\nLocation: /b\r\nContent-Length: 0\r\n\r\n";
    let mut server = Server::start(vec![vec![write(here)], vec![write(there)]]).await;
    let mut made = 0;
    let source = source(&server).method(Method::POST).fresh(move |_| {
        made += 1;
        async move { Ok(Fresh::new().header("authorization", "Bearer t").body(format!("body {made}"))) }
    });
    let mut source = source.build().expect("a source");
    tells(&mut source, &["open 200"]).await;
    for token in [Some("Bearer t"), Some("Bearer t")] {
        let request = server.request().await;
        assert_eq!((request.header("authorization"), request.body()), (token, "body 1"));
    }
    let away = last.request().await;
    assert_eq!((away.header("authorization"), away.body()), (None, "body 1"));
}

#[tokio::test]
async fn user_information_goes_only_to_the_url_that_has_it() {
    let mut server = Server::start(vec![says(STREAM, ""), says(STREAM, ""), says(STREAM, "")]).await;
    let place = server.address();
    let source = tidings_client::EventSource::builder(&format!("http://a:b@{place}/")).retry_ms(5);
    let source = source.fresh(move |next| async move {
        Ok(match next.before {
            0 => Fresh::new(),
            1 => Fresh::new().url(&format!("http://{place}/bare")),
            _ => Fresh::new().url(&format!("http://c:d@{place}/own")),
        })
    });
    let mut source = source.build().expect("a source");
    for _ in 0..3 {
        tells(&mut source, &["open 200"]).await;
        told(&mut source).await;
    }
    for basic in [Some("Basic YTpi"), None, Some("Basic Yzpk")] {
        assert_eq!(server.request().await.header("authorization"), basic);
    }
}

#[tokio::test]
async fn what_cannot_be_sent_is_a_failure_that_passes() {
    let mut server = Server::start(vec![says(STREAM, "data: a\n\n")]).await;
    let source =
        source(&server).last_event_id(EventId::parse("3").expect("an id")).fresh(|next| async move {
            match next.before {
                0 => Err("no token".into()),
                1 => Ok(Fresh::new().url("ftp://elsewhere/")),
                2 => Ok(Fresh::new().header("authorization", "a\r\nb")),
                _ => Ok(Fresh::new().header("Last-Event-ID", "forged")),
            }
        });
    let mut source = source.build().expect("a source");
    for cause in [
        "no token",
        "the URL cannot be used: the scheme is ftp",
        "the header \"authorization\" cannot be sent",
    ] {
        let line = match futures_util::StreamExt::next(&mut source).await {
            Some(Ok(SourceEvent::Reconnecting { cause, .. })) => cause.to_string(),
            other => panic!("it should be tried again: {other:?}"),
        };
        assert!(line.starts_with(&format!("cannot connect: {cause}")), "{line}");
    }
    tells(&mut source, &["open 200", "message \"a\" after \"3\""]).await;
    assert_eq!(server.request().await.header("last-event-id"), Some("3"));
}
