//! The programs, run: killed between events, with tokens that change, before servers that break off.
#![expect(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

const STREAM: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n";

async fn in_time<T>(future: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(20), future).await.expect("it is done in time")
}

/// A server on a free port; what it does with each connection is the test's.
async fn listen() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    (listener, url)
}

/// The next request, and its connection.
async fn request(listener: &TcpListener) -> (String, TcpStream) {
    let (mut socket, _) = in_time(listener.accept()).await.unwrap();
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
            if body.len() >= length.unwrap_or(0) {
                return (text, socket);
            }
        }
        assert_ne!(in_time(socket.read_buf(&mut bytes)).await.unwrap(), 0, "a whole request");
    }
}

fn header<'a>(request: &'a str, name: &str) -> Option<&'a str> {
    request.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

fn program(path: &str, words: &[&str]) -> (Child, Lines<BufReader<ChildStdout>>) {
    let mut command = Command::new(path);
    command.args(words).stdout(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    (child, lines)
}

/// Numbers from behind the id on, a few a millisecond, as long as somebody reads.
async fn count(listener: TcpListener) {
    loop {
        let (request, mut socket) = request(&listener).await;
        let last: u64 = header(&request, "last-event-id").map_or(0, |id| id.parse().unwrap());
        tokio::spawn(async move {
            let mut text = STREAM.to_owned();
            for number in last + 1.. {
                text.push_str(&format!("id: {number}\ndata: {number}\n\n"));
                if socket.write_all(text.as_bytes()).await.is_err() {
                    return;
                }
                text.clear();
                tokio::time::sleep(Duration::from_micros(300)).await;
            }
        });
    }
}

#[tokio::test]
async fn resume_misses_nothing_however_often_it_is_killed() {
    let (listener, url) = listen().await;
    let server = tokio::spawn(count(listener));
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("last");
    let (mut next, mut lives_with_repeats) = (1_u64, 0);
    for life in 0..12_u64 {
        let (mut child, mut lines) = program(env!("CARGO_BIN_EXE_resume"), &[&url, file.to_str().unwrap()]);
        // Long enough in most lives for some ids to be kept; in some, none is.
        let until = tokio::time::Instant::now() + Duration::from_millis(20 + 70 * (life % 5));
        let (mut first, mut seen) = (None, 0_u64);
        while let Some(line) = in_time(lines.next_line()).await.unwrap() {
            let number: u64 = line.parse().unwrap();
            let expected = match first {
                None => {
                    first = Some(number);
                    lives_with_repeats += u64::from(number < next);
                    number.min(next)
                }
                Some(_) => seen + 1,
            };
            assert_eq!(number, expected, "life {life}: what lies between was missed");
            seen = number;
            if tokio::time::Instant::now() > until {
                child.start_kill().unwrap();
            }
        }
        in_time(child.wait()).await.unwrap();
        next = next.max(seen + 1);
    }
    assert!(next > 500, "{next}: it got on");
    assert!(lives_with_repeats > 0, "a kill at any moment repeats something");

    // An orderly end repeats nothing.
    let mut behind = None;
    for _ in 0..2 {
        let (mut child, mut lines) = program(env!("CARGO_BIN_EXE_resume"), &[&url, file.to_str().unwrap()]);
        let mut seen = in_time(lines.next_line()).await.unwrap().unwrap().parse::<u64>().unwrap();
        assert!(behind.is_none_or(|behind| seen == behind + 1), "{behind:?}, then {seen}");
        let stop = Command::new("kill").args(["-INT", &child.id().unwrap().to_string()]).status();
        assert!(stop.await.unwrap().success());
        let rest = async {
            while let Some(line) = lines.next_line().await.unwrap() {
                seen = line.parse().unwrap();
            }
        };
        in_time(rest).await;
        assert!(in_time(child.wait()).await.unwrap().success());
        behind = Some(seen);
    }
    server.abort();
}

#[tokio::test]
async fn token_is_read_for_each_attempt() {
    let (listener, url) = listen().await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("token");
    std::fs::write(&file, "one\n").unwrap();
    let (mut child, mut lines) = program(env!("CARGO_BIN_EXE_token"), &[&url, file.to_str().unwrap()]);
    let answer = async |answer: String| {
        let (request, mut socket) = request(&listener).await;
        socket.write_all(answer.as_bytes()).await.unwrap();
        header(&request, "authorization").unwrap().to_owned()
    };
    let token = answer(format!("{STREAM}retry: 20\nid: 1\ndata: a\n\n")).await;
    assert_eq!(
        (token.as_str(), in_time(lines.next_line()).await.unwrap().as_deref()),
        ("Bearer one", Some("a"))
    );
    // It has expired, the new one comes a little late.
    let refused = "HTTP/1.1 401 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    assert_eq!(answer(refused.to_owned()).await, "Bearer one");
    std::fs::write(&file, "two\n").unwrap();
    let mut token = answer(format!("{STREAM}data: b\n\n")).await;
    if token == "Bearer one" {
        // The attempt had begun before the file was written.
        token = answer(format!("{STREAM}data: c\n\n")).await;
    }
    assert_eq!(token, "Bearer two");
    assert!(in_time(lines.next_line()).await.unwrap().is_some());
    child.start_kill().unwrap();
}

#[tokio::test]
async fn once_prints_one_answer_and_asks_once() {
    let (listener, url) = listen().await;
    let delta = |text: &str| format!("data: {{\"choices\":[{{\"delta\":{{\"content\":\"{text}\"}}}}]}}\n\n");
    let run = async |body: String| {
        let (child, mut lines) = program(env!("CARGO_BIN_EXE_once"), &[&url, "why?"]);
        let (request, mut socket) = request(&listener).await;
        assert!(
            request.starts_with("POST / HTTP/1.1") && request.contains("\"content\":\"why?\""),
            "{request}"
        );
        socket.write_all(format!("{STREAM}{body}").as_bytes()).await.unwrap();
        drop(socket);
        let mut text = String::new();
        while let Some(line) = in_time(lines.next_line()).await.unwrap() {
            text.push_str(&line);
        }
        let again = timeout(Duration::from_millis(100), listener.accept()).await;
        assert!(again.is_err(), "an answer is not asked for twice");
        (text, in_time(child.wait_with_output()).await.unwrap().status.success())
    };
    let whole = format!("{}: ping\n\n{}data: [DONE]\n\n", delta("Because"), delta(" of air."));
    assert_eq!(run(whole).await, ("Because of air.".to_owned(), true));
    assert_eq!(run(delta("Beca")).await, ("Beca".to_owned(), false), "one that breaks off is a failure");
    let failed = format!("{}data: {{\"error\":{{\"message\":\"overloaded\"}}}}\n\n", delta("Be"));
    assert_eq!(run(failed).await, ("Be".to_owned(), false));
}

/// Starts the proxy before `url`, and gives its own.
async fn proxy(url: &str) -> (Child, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_proxy"));
    command.args(["127.0.0.1:0", &format!("{url}/origin")]).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().unwrap();
    let mut line = String::new();
    in_time(BufReader::new(child.stderr.take().unwrap()).read_line(&mut line)).await.unwrap();
    let own = line.split(' ').next().unwrap().to_owned();
    (child, own)
}

/// A reader of the proxy: a raw connection, so that its bytes are seen.
async fn read(url: &str, more: &str) -> TcpStream {
    let place = url.strip_prefix("http://").unwrap().strip_suffix("/events").unwrap();
    let mut socket = TcpStream::connect(place).await.unwrap();
    let request = format!("GET /events HTTP/1.1\r\nHost: {place}\r\n{more}Connection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).await.unwrap();
    socket
}

/// Reads until `end` was there.
async fn until(socket: &mut TcpStream, end: &str) -> String {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if text.contains(end) {
            return text;
        }
        assert_ne!(
            in_time(socket.read_buf(&mut bytes)).await.unwrap(),
            0,
            "it ended before {end:?}: {text:?}"
        );
    }
}

#[tokio::test]
async fn proxy_passes_everything_on_and_mends_what_breaks_behind_it() {
    let (listener, url) = listen().await;
    let (_child, own) = proxy(&url).await;
    let mut reader = read(&own, "Last-Event-ID: 4\r\n").await;
    let (asked, mut origin) = request(&listener).await;
    assert!(asked.starts_with("GET /origin HTTP/1.1"), "{asked}");
    assert_eq!(header(&asked, "last-event-id"), Some("4"));
    let first =
        "retry: 10\n: beat\n\nid: 5\nevent: e\ndata: a\ndata: b\n\nid: 6\n\ndata: c\n\nid: 7\ndata: cut";
    origin.write_all(format!("{STREAM}{first}").as_bytes()).await.unwrap();
    let text = until(&mut reader, "data: c\n\n").await;
    assert!(
        text.starts_with("HTTP/1.1 200 OK") && text.contains("content-type: text/event-stream"),
        "{text}"
    );
    for part in [": beat\n", "id: 5\nevent: e\ndata: a\ndata: b\n\n", "id: 6\n\n"] {
        assert!(text.contains(part), "{part:?} is passed on: {text:?}");
    }
    // The origin breaks: the reader's connection stays, and nothing is missed or doubled.
    drop(origin);
    let (asked, mut origin) = request(&listener).await;
    assert_eq!(header(&asked, "last-event-id"), Some("6"));
    origin.write_all(format!("{STREAM}id: 7\ndata: d\n\n").as_bytes()).await.unwrap();
    let text = until(&mut reader, "data: d\n\n").await;
    assert!(!text.contains("data: c") && !text.contains("cut"), "{text:?}");
    // The reader goes, and the proxy leaves the origin with it.
    drop(reader);
    let mut bytes = [0; 16];
    let left = async {
        while origin.write_all(b":\n").await.is_ok() {
            let said = timeout(Duration::from_millis(20), origin.read(&mut bytes)).await;
            if matches!(said, Ok(Ok(0) | Err(_))) {
                return;
            }
        }
    };
    in_time(left).await;
}

#[tokio::test]
async fn proxy_tells_what_the_origin_refuses_for_good() {
    let (listener, url) = listen().await;
    let (_child, own) = proxy(&url).await;
    for (status, seen) in [("404 No", "HTTP/1.1 404"), ("403 No", "HTTP/1.1 403"), ("204 No", "HTTP/1.1 204")]
    {
        let mut reader = read(&own, "").await;
        let (_, mut origin) = request(&listener).await;
        let length = if status.starts_with("204") { "" } else { "Content-Length: 0\r\n" };
        origin.write_all(format!("HTTP/1.1 {status}\r\n{length}\r\n").as_bytes()).await.unwrap();
        let text = until(&mut reader, "\r\n\r\n").await;
        assert!(text.starts_with(seen), "{text}");
    }
}
