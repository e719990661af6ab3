//! Where the last id is kept, when, and what comes twice: over lives of a source, failing stores and servers that
//! begin too early.

use std::io;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tidings_client::store::{FileStore, IdStore, MemoryStore};
use tidings_client::{EventId, ReadyState, SourceError};
use tokio::time::sleep;

use crate::server::{STREAM, Server, Step, says, write};
use crate::{source, tells, told};

/// A store that writes down what it was asked, and does what it is told.
#[derive(Clone, Default)]
struct Watched(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    saved: Vec<String>,
    fails: u32,
    load: Option<Result<EventId, String>>,
    busy: bool,
    delay_ms: u64,
}

impl Watched {
    fn with<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        look(&mut self.0.lock().expect("a state"))
    }

    fn saved(&self) -> Vec<String> {
        self.with(|state| state.saved.clone())
    }
}

impl IdStore for Watched {
    async fn load(&self) -> io::Result<Option<EventId>> {
        tokio::task::yield_now().await;
        let load = self.with(|state| state.load.take());
        load.transpose().map_err(io::Error::other)
    }

    async fn save(&self, id: &EventId) -> io::Result<()> {
        assert!(!self.with(|state| std::mem::replace(&mut state.busy, true)), "one write at a time");
        match self.with(|state| state.delay_ms) {
            0 => {}
            delay_ms => sleep(Duration::from_millis(delay_ms)).await,
        }
        self.with(|state| {
            state.busy = false;
            if state.fails > 0 {
                state.fails -= 1;
                return Err(io::Error::other("the disk is full"));
            }
            state.saved.push(id.as_str().to_owned());
            Ok(())
        })
    }
}

fn three() -> Vec<Step> {
    vec![write(STREAM), write("id: 1\ndata: a\n\nid: 2\ndata: b\n\nid: 3\n\n"), Step::Hold]
}

#[tokio::test]
async fn the_next_life_goes_on_where_this_one_ended() {
    let mut server = Server::start(vec![three(), says(STREAM, "data: c\n\n")]).await;
    let store = MemoryStore::default();
    let mut first = source(&server).store(store.clone()).store_interval_ms(0).build().expect("a source");
    tells(&mut first, &["open 200", "message \"a\" after \"1\"", "message \"b\" after \"2\""]).await;
    first.flush_store().await.expect("it is kept");
    drop(first);
    let early = EventId::parse("0").expect("an id");
    let mut second = source(&server).last_event_id(early).store(store).build().expect("a source");
    tells(&mut second, &["open 200", "message \"c\" after \"2\""]).await;
    assert_eq!(server.request().await.header("last-event-id"), None);
    assert_eq!(server.request().await.header("last-event-id"), Some("2"));
}

#[tokio::test]
async fn a_file_is_as_good() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = || FileStore::new(directory.path().join("last"));
    let mut server = Server::start(vec![three(), says(STREAM, "")]).await;
    let mut first = source(&server).store(store()).build().expect("a source");
    tells(&mut first, &["open 200", "message \"a\" after \"1\"", "message \"b\" after \"2\"", "id \"3\""])
        .await;
    first.flush_store().await.expect("it is kept");
    drop(first);
    let mut second = source(&server).store(store()).build().expect("a source");
    tells(&mut second, &["open 200"]).await;
    server.request().await;
    assert_eq!(server.request().await.header("last-event-id"), Some("3"));
}

#[tokio::test]
async fn an_id_is_kept_when_the_next_event_is_asked_for_and_not_before() {
    let server = Server::start(vec![three()]).await;
    let store = Watched::default();
    let mut source = source(&server).store(store.clone()).store_interval_ms(0).build().expect("a source");
    tells(&mut source, &["open 200", "message \"a\" after \"1\""]).await;
    sleep(Duration::from_millis(50)).await;
    assert_eq!(store.saved(), [""; 0], "it may still be at work on it");
    tells(&mut source, &["message \"b\" after \"2\""]).await;
    assert_eq!(store.saved(), ["1"]);
    tells(&mut source, &["id \"3\""]).await;
    // Nothing more comes, and it is kept all the same.
    tokio::time::timeout(Duration::from_millis(100), told(&mut source)).await.expect_err("the server holds");
    assert_eq!(store.saved(), ["1", "2", "3"]);
}

#[tokio::test]
async fn writes_keep_their_distance_and_the_last_one_comes() {
    let events: String = (1..=200).map(|id| format!("id: {id}\ndata: x\n\n")).collect();
    let server = Server::start(vec![vec![write(STREAM), write(events), Step::Hold]]).await;
    let store = Watched::default();
    let mut source = source(&server).store(store.clone()).store_interval_ms(300).build().expect("a source");
    let began = tokio::time::Instant::now();
    for _ in 0..=200 {
        told(&mut source).await;
        // Each is some work, in which a write would have all the time it needs.
        sleep(Duration::from_millis(2)).await;
    }
    tokio::time::timeout(Duration::from_millis(700), told(&mut source)).await.expect_err("the server holds");
    let saved = store.saved();
    assert_eq!(saved.last().map(String::as_str), Some("200"));
    let allowed = 2 + began.elapsed().as_millis() / 300;
    assert!((saved.len() as u128) <= allowed, "{saved:?}");
}

#[tokio::test]
async fn a_store_that_fails_is_told_and_tried_again_and_events_go_on() {
    let server = Server::start(vec![three()]).await;
    let store = Watched::default();
    store.with(|state| state.fails = 1);
    let mut source = source(&server).store(store.clone()).store_interval_ms(0).build().expect("a source");
    tells(&mut source, &["open 200", "message \"a\" after \"1\""]).await;
    let line = told(&mut source).await;
    assert!(line.starts_with("NotStored") && line.contains("the disk is full"), "{line}");
    tells(&mut source, &["message \"b\" after \"2\"", "id \"3\""]).await;
    tokio::time::timeout(Duration::from_millis(1_500), told(&mut source))
        .await
        .expect_err("the server holds");
    assert_eq!(store.saved(), ["3"], "what came since goes in its place");
}

#[tokio::test]
async fn a_store_that_cannot_be_read_ends_it_before_the_first_request() {
    let server = Server::start(vec![]).await;
    let store = Watched::default();
    store.with(|state| state.load = Some(Err("no such table".into())));
    let mut source = source(&server).store(store.clone()).build().expect("a source");
    assert_eq!(source.ready_state(), ReadyState::Connecting);
    let error = futures_util::StreamExt::next(&mut source).await;
    assert!(matches!(error, Some(Err(SourceError::Store(_)))), "{error:?}");
    tells(&mut source, &["none", "none"]).await;
    assert_eq!(source.ready_state(), ReadyState::Closed);
}

#[tokio::test]
async fn the_end_is_told_when_all_before_it_is_kept() {
    let script =
        || vec![says(STREAM, "id: 1\ndata: a\n\nid: 2\ndata: b\n\n"), vec![write("HTTP/1.1 204 No\r\n\r\n")]];
    let lines =
        ["message \"a\" after \"1\"", "message \"b\" after \"2\"", "lost: the stream ended, again in 5"];
    let server = Server::start(script()).await;
    let store = Watched::default();
    store.with(|state| state.delay_ms = 100);
    let mut first =
        source(&server).store(store.clone()).store_interval_ms(3_600_000).build().expect("a source");
    tells(&mut first, &["open 200"]).await;
    tells(&mut first, &lines).await;
    tells(&mut first, &["ended"]).await;
    assert_eq!(store.saved().last().map(String::as_str), Some("2"));
    tells(&mut first, &["none"]).await;

    // If it cannot be, that is told before the end, and the end all the same.
    let server = Server::start(script()).await;
    let mut second =
        source(&server).store(store.clone()).store_interval_ms(3_600_000).build().expect("a source");
    tells(&mut second, &["open 200"]).await;
    tells(&mut second, &lines).await;
    store.with(|state| state.fails = 9);
    let line = told(&mut second).await;
    assert!(line.starts_with("NotStored"), "{line}");
    tells(&mut second, &["ended", "none"]).await;
}

#[tokio::test]
async fn by_hand_only_what_is_named_is_kept() {
    let server = Server::start(vec![three()]).await;
    let store = Watched::default();
    let source = source(&server).store(store.clone()).store_interval_ms(0).store_by_hand(true);
    let mut source = source.build().expect("a source");
    tells(&mut source, &["open 200", "message \"a\" after \"1\"", "message \"b\" after \"2\"", "id \"3\""])
        .await;
    source.flush_store().await.expect("nothing is to be kept");
    assert_eq!(store.saved(), [""; 0]);
    source.done(&EventId::parse("2").expect("an id"));
    source.flush_store().await.expect("it is kept");
    source.flush_store().await.expect("nothing more");
    assert_eq!(store.saved(), ["2"]);
}

#[tokio::test]
async fn a_flush_that_fails_says_so_and_the_id_is_not_forgotten() {
    let server = Server::start(vec![three()]).await;
    let store = Watched::default();
    let mut source = source(&server).store(store.clone()).build().expect("a source");
    tells(&mut source, &["open 200", "message \"a\" after \"1\""]).await;
    store.with(|state| state.fails = 1);
    assert_eq!(source.flush_store().await.expect_err("it fails").to_string(), "the disk is full");
    source.flush_store().await.expect("it is kept");
    assert_eq!(store.saved(), ["1"]);
}

#[tokio::test]
async fn a_source_that_is_closed_keeps_what_was_done_and_does_not_wait_for_a_load() {
    let server = Server::start(vec![three()]).await;
    let store = Watched::default();
    let mut first = source(&server).store(store.clone()).build().expect("a source");
    tells(&mut first, &["open 200", "message \"a\" after \"1\""]).await;
    first.close();
    tells(&mut first, &["none"]).await;
    assert_eq!(store.saved(), ["1"]);

    // Also if it had an end to tell that waited for the store.
    let server =
        Server::start(vec![says(STREAM, "id: 1\ndata: a\n\n"), vec![write("HTTP/1.1 204 No\r\n\r\n")]]).await;
    let mut ending = source(&server).store(store.clone()).build().expect("a source");
    tells(&mut ending, &["open 200", "message \"a\" after \"1\"", "lost: the stream ended, again in 5"])
        .await;
    store.with(|state| state.delay_ms = 200);
    ending.done(&EventId::parse("2").expect("an id"));
    tokio::time::timeout(Duration::from_millis(100), told(&mut ending)).await.expect_err("it is being kept");
    assert_eq!(ending.ready_state(), ReadyState::Closed);
    ending.close();
    tells(&mut ending, &["none"]).await;
    assert_eq!(store.saved().last().map(String::as_str), Some("2"));

    struct Stuck;
    impl IdStore for Stuck {
        async fn load(&self) -> io::Result<Option<EventId>> {
            std::future::pending().await
        }
        async fn save(&self, _: &EventId) -> io::Result<()> {
            Ok(())
        }
    }
    let mut second = source(&server).store(Stuck).build().expect("a source");
    tokio::time::timeout(Duration::from_millis(50), told(&mut second)).await.expect_err("it waits");
    second.close();
    tells(&mut second, &["none"]).await;
}

#[tokio::test]
async fn what_comes_again_is_told_once_if_asked_for() {
    // Two servers' faults: one begins at the id instead of after it, the other repeats within one stream. Events
    // without an id of their own are nobody's duplicate.
    let scripts = || {
        vec![
            says(STREAM, "id: 1\ndata: a\n\nid: 2\ndata: b\n\ndata: bare\n\ndata: bare\n\n"),
            says(
                STREAM,
                "id: 1\ndata: a\n\nid: 2\ndata: b\n\nid: 3\ndata: c\n\nid: 3\ndata: c\n\ndata: bare\n\n",
            ),
            says(STREAM, "id: 2\ndata: b\n\n"),
            says(STREAM, "id:\ndata: reset\n\nid:\ndata: reset\n\n"),
        ]
    };
    let mut server = Server::start(scripts()).await;
    let store = Watched::default();
    let source_ = source(&server).store(store.clone()).store_interval_ms(0);
    let mut source_ = source_.deduplicate(NonZeroUsize::new(100).expect("100")).build().expect("a source");
    let lost = "lost: the stream ended, again in 5";
    let bare = "message \"bare\" after \"2\"";
    let first = ["open 200", "message \"a\" after \"1\"", "message \"b\" after \"2\"", bare, bare, lost];
    tells(&mut source_, &first).await;
    tells(&mut source_, &["open 200", "message \"c\" after \"3\"", "message \"bare\" after \"3\"", lost])
        .await;
    tells(&mut source_, &["open 200", lost]).await;
    assert_eq!(store.saved().last().map(String::as_str), Some("3"), "what is not told moves nothing back");
    let reset = "message \"reset\" after \"\"";
    tells(&mut source_, &["open 200", reset, reset, lost]).await;
    assert_eq!(source_.duplicates(), 4);
    let ids = [None, Some("2"), Some("3"), Some("3")];
    for id in ids {
        assert_eq!(server.request().await.header("last-event-id"), id);
    }

    // The next life knows the event it ended with; and without being asked, everything is told.
    let server = Server::start(vec![says(STREAM, "id: 3\ndata: c\n\nid: 4\ndata: d\n\n")]).await;
    store.with(|state| state.load = Some(Ok(EventId::parse("3").expect("an id"))));
    let next = source(&server).store(store).deduplicate(NonZeroUsize::new(1).expect("1"));
    tells(&mut next.build().expect("a source"), &["open 200", "message \"d\" after \"4\""]).await;
    let server = Server::start(vec![says(STREAM, "id: 3\ndata: c\n\nid: 3\ndata: c\n\n")]).await;
    let c = "message \"c\" after \"3\"";
    tells(&mut source(&server).build().expect("a source"), &["open 200", c, c]).await;
}
