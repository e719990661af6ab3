//! Moments that no socket can bring about on purpose: a reactor whose turns are taken by hand, one step at a time.

use std::io::{self, Read as _};

use tidings_hub::live::{Carried, Way};
use tidings_hub::ports::Publish;
use tidings_hub::{Filter, Limits, Position, Selector, Selectors, Subscribe, SystemClock, TopicName};
use tidings_log::{LogConfig, MemoryLog};

use super::*;
use crate::door::Look;
use crate::serve::End;
use crate::window::tests::DEFECT;

/// Nobody comes to it.
struct NoDoor;

impl Door for NoDoor {
    fn look(&mut self, _: &[u8]) -> Look {
        Look::Other
    }

    fn hand_off(&mut self, _: TcpStream, _: Vec<u8>) {}

    fn take_room(&mut self) -> bool {
        false
    }

    fn give_room_back(&mut self) {}

    fn opened(&mut self) {}

    fn left(&mut self) {}

    fn accept_failed(&mut self, error: &io::Error) {
        panic!("{error}");
    }
}

fn reactor() -> Reactor<NoDoor> {
    let clock = Arc::new(SystemClock::new());
    let log = MemoryLog::open(clock.clone(), LogConfig::default()).unwrap();
    let hub = Hub::open(Arc::new(log), clock, Limits::default()).unwrap();
    let config = Config {
        handshake_ms: 10_000,
        head_ms: 10_000,
        partial_bytes_max: 8 << 10,
        heartbeat_ms: 10_000,
        accept_pause_ms: 100,
        connections_max: usize::MAX,
    };
    Reactor::new(hub, NoDoor, config, Vec::new(), Arc::new(Mailbox::new().unwrap()), Vec::new()).unwrap()
}

/// Publishes, and says where, and what is told of it.
fn publish(reactor: &Reactor<NoDoor>, topic: &str, data: &str) -> (Position, String) {
    let topics = [TopicName::parse(topic).unwrap()].into_iter().collect();
    let at = futures_executor::block_on(reactor.hub.publish(Publish::text(topics, data))).unwrap();
    (at, chunk(&format!("id: {at}\ndata: {data}\n\n")))
}

/// A stream that is live now, and its reader's end.
fn join(reactor: &mut Reactor<NoDoor>, topic: &str) -> (Key, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let reader = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (socket, _) = listener.accept().unwrap();
    socket.set_nonblocking(true).unwrap();
    let key = u32::try_from(reactor.conns.vacant_key()).unwrap();
    reactor.open(socket);
    let filter = Filter::topics(Selectors::new(vec![Selector::parse(topic).unwrap()]));
    let Carried { way: Way::Live(live), .. } = reactor.hub.carry(Subscribe::new(filter)).unwrap() else {
        panic!("it lacks nothing");
    };
    reactor.join(key, live);
    assert!(matches!(reactor.conns[key as usize].state, State::Live(_)));
    (key, reader)
}

/// Reads what it must be told, byte by byte: too little hangs, until it is told that it hangs.
fn gets(reader: &mut TcpStream, expected: &str) {
    reader.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut bytes = vec![0; expected.len()];
    reader.read_exact(&mut bytes).unwrap();
    assert_eq!(String::from_utf8(bytes).unwrap(), expected);
}

/// Reads to the end.
fn ends(reader: &mut TcpStream, expected: &str) {
    gets(reader, expected);
    assert_eq!(reader.read(&mut [0]).unwrap(), 0, "it goes on");
}

fn chunk(text: &str) -> String {
    format!("{:x}\r\n{text}\r\n", text.len())
}

#[test]
fn who_is_ahead_of_the_scan_is_told_no_earlier_position() {
    let mut reactor = reactor();
    // Somebody is there, so that the scan's place stays where it is.
    let _other = join(&mut reactor, "a");
    let (at, _) = publish(&reactor, "b", "1");
    let (beats, mut reader) = join(&mut reactor, "c");
    assert!(reactor.seen < reactor.hub.view().head(), "it is ahead");
    reactor.handle_due(beats);
    gets(&mut reader, &chunk(&format!("id: {at}\n\n")));
    reactor.end_stream(beats, End::Over);
    ends(&mut reader, &(chunk(&format!("id: {at}\n\n")) + "0\r\n\r\n"));
}

#[test]
fn a_defect_in_a_window_costs_the_streams_of_its_group() {
    let mut reactor = reactor();
    let (_, mut one) = join(&mut reactor, "defect");
    let (_, mut other) = join(&mut reactor, "a");
    let (_, mut two) = join(&mut reactor, "defect");
    DEFECT.set(Some("defect"));
    publish(&reactor, "defect", "1");
    let (_, told) = publish(&reactor, "a", "2");
    reactor.pass();
    ends(&mut one, "");
    ends(&mut two, "");
    gets(&mut other, &told);
    assert_eq!((reactor.hub.subscribers(), reactor.conns.len()), (1, 1));
    publish(&reactor, "defect", "3");
    let (_, told) = publish(&reactor, "a", "4");
    reactor.pass();
    gets(&mut other, &told);
    // Who comes when it is mended is served.
    DEFECT.set(None);
    let (_, mut three) = join(&mut reactor, "defect");
    let (_, told) = publish(&reactor, "defect", "5");
    reactor.pass();
    gets(&mut three, &told);
}

#[test]
fn a_defect_in_the_window_of_one_that_lags_costs_that_one() {
    let mut reactor = reactor();
    let (lags, mut one) = join(&mut reactor, "defect");
    let (_, mut two) = join(&mut reactor, "defect");
    reactor.conns[lags as usize].lags = true;
    reactor.lagging += 1;
    reactor.groups.iter_mut().for_each(|group| group.lagging += 1);
    let (_, told) = publish(&reactor, "defect", "1");
    reactor.pass();
    gets(&mut two, &told);
    DEFECT.set(Some("defect"));
    reactor.writable.push(lags);
    reactor.serve_writable();
    ends(&mut one, "");
    assert_eq!((reactor.hub.subscribers(), reactor.lagging), (1, 0));
    DEFECT.set(None);
    let (_, told) = publish(&reactor, "defect", "2");
    reactor.pass();
    gets(&mut two, &told);
}
