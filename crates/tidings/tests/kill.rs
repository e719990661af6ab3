//! `kill -9`, again and again: what was acked is there, in order, once.
#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    clippy::print_stdout,
    reason = "a test ends where it is surprised, and tells what it saw"
)]

mod process;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use process::{HubProcess, request};
use tokio::sync::Notify;

const KILLS: usize = 20;

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acked_survives_twenty_kills() {
    let dir = tempfile::tempdir().unwrap();
    let mut hub = HubProcess::start(dir.path(), &["--segment-bytes", "64KiB"]);
    let mut next = 0u64;
    // (id, value) of everything that was acked, over all lives.
    let mut acked: Vec<(String, String)> = Vec::new();
    for kill in 0..KILLS {
        let (stop, first) = (Arc::new(AtomicBool::new(false)), Arc::new(Notify::new()));
        let publishers: Vec<_> = (0..4)
            .map(|_| {
                let (stop, first, addr, from) = (Arc::clone(&stop), Arc::clone(&first), hub.addr, next);
                next += 1_000_000;
                tokio::spawn(publish(addr, from, stop, first))
            })
            .collect();
        // Sooner or later in the middle of something, once there is something.
        tokio::time::timeout(Duration::from_secs(20), first.notified()).await.expect("an ack");
        tokio::time::sleep(Duration::from_millis(13 * kill as u64)).await;
        hub.kill();
        stop.store(true, Ordering::Relaxed);
        let mut of_this_life = 0;
        for publisher in publishers {
            let more = publisher.await.unwrap();
            of_this_life += more.len();
            acked.extend(more);
        }
        assert!(of_this_life > 0, "kill {kill} came before anything was acked");
        hub.restart();
        let mut held: HashMap<String, Vec<String>> = HashMap::new();
        for (id, value) in all(&hub).await {
            held.entry(value).or_default().push(id);
        }
        for (id, value) in &acked {
            let found = held.get(value).map_or(&[][..], Vec::as_slice);
            assert_eq!(found, std::slice::from_ref(id), "kill {kill}: {value}");
        }
    }
    println!("{} acked events over {KILLS} kills: all there, once, under their ids", acked.len());
}

/// Publishes one event after the other until it is told to stop; what was acked.
async fn publish(
    addr: std::net::SocketAddr,
    from: u64,
    stop: Arc<AtomicBool>,
    first: Arc<Notify>,
) -> Vec<(String, String)> {
    let mut acked = Vec::new();
    for number in from.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let value = format!("value {number} {}", "x".repeat(usize::try_from(number % 300).unwrap()));
        // A failure is the kill: whether that one was stored nobody knows.
        let Ok(answer) = request(addr, "POST", "/topics/a", "", value.as_bytes()).await else { break };
        assert_eq!(answer.status, 200, "{answer:?}");
        acked.push((answer.json()["last_id"].as_str().unwrap().to_owned(), value));
        first.notify_one();
    }
    acked
}

/// The whole history, page by page.
async fn all(hub: &HubProcess) -> Vec<(String, String)> {
    let mut all = Vec::new();
    let mut path = "/topics/a?format=json&limit=1000".to_owned();
    loop {
        let page = hub.get(&path).await.unwrap().json();
        for event in page["events"].as_array().unwrap() {
            let text = |member: &str| event[member].as_str().unwrap().to_owned();
            all.push((text("id"), text("data")));
        }
        if page["more"] != true {
            return all;
        }
        path = format!("/topics/a?format=json&limit=1000&last_event_id={}", page["next"].as_str().unwrap());
    }
}
