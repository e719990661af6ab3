//! Delivery: a reactor with its streams, and their readers in the same process.

use std::io::{self, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;

use bytes::Bytes;
use tidings_hub::live::Carried;
use tidings_hub::{Filter, Hub, Selector, Selectors, Subscribe, TopicName};
use tidings_reactor::mailbox::Stage;
use tidings_reactor::{Answer, Config, Door, Look, Mailbox, Reactor, Then};

use crate::{event_to, submit};

/// Streams at once: many, so that how often the reactor wakes for them says little.
const STREAMS: usize = 256;

/// Answers a line with a stream of the topic that it names.
struct Lines(Hub);

impl Door for Lines {
    fn look(&mut self, bytes: &[u8]) -> Look {
        let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else { return Look::More };
        let topic = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let selectors = Selectors::new(vec![Selector::parse(&topic).expect("a topic")]);
        let carried: Carried =
            self.0.carry(Subscribe::new(Filter::topics(selectors))).expect("there is room");
        let answer = Answer { bytes: b"\r\n".to_vec(), then: Then::Stream(carried) };
        Look::Request { bytes: end + 1, answer: Box::pin(std::future::ready(answer)) }
    }

    fn hand_off(&mut self, _: TcpStream, _: Vec<u8>) {}

    fn take_room(&mut self) -> bool {
        true
    }

    fn give_room_back(&mut self) {}

    fn opened(&mut self) {}

    fn left(&mut self) {}

    fn accept_failed(&mut self, error: &io::Error) {
        panic!("{error}");
    }
}

/// Delivers an event so many times: each to all streams, or, with topics of their own, to one.
pub(crate) fn run(times: u64, own: bool) {
    let hub = tidings_counts::hub();
    let listener = TcpListener::bind("127.0.0.1:0").expect("there is a port");
    let addr = listener.local_addr().expect("it is bound");
    let mailbox = Arc::new(Mailbox::new().expect("there is a descriptor"));
    let config = Config {
        handshake_ms: 60_000,
        head_ms: 60_000,
        partial_bytes_max: 1_024,
        heartbeat_ms: 0,
        accept_pause_ms: 100,
        connections_max: 1_000,
    };
    let reactor =
        Reactor::new(hub.clone(), Lines(hub.clone()), config, vec![listener], mailbox.clone(), vec![]);
    let reactor = reactor.expect("there are descriptors");
    let thread = std::thread::spawn(|| reactor.run());

    let name = |at: usize| format!("t/{}", if own { at } else { 0 });
    let topics: Vec<_> = (0..STREAMS).map(|at| TopicName::parse(&name(at)).expect("a name")).collect();
    let mut buffer = [0; 4_096];
    let mut sockets: Vec<TcpStream> = topics
        .iter()
        .map(|topic| {
            let mut socket = TcpStream::connect(addr).expect("it listens");
            socket.write_all(format!("{}\n", topic.as_str()).as_bytes()).expect("it reads");
            let read = socket.read(&mut buffer).expect("it answers");
            assert!(read > 2, "the beginning of a stream follows the answer at once");
            socket
        })
        .collect();
    let data = Bytes::from(vec![b'x'; 100]);
    for _ in 0..times.div_ceil(STREAMS as u64) {
        let written = if own { STREAMS } else { 1 };
        submit(&hub, topics.iter().take(written).map(|topic| event_to(topic, &data)).collect());
        for socket in &mut sockets {
            let read = socket.read(&mut buffer).expect("it delivers");
            assert!(buffer[..read].ends_with(b"\n\n\r\n"), "one write has the whole event");
        }
    }
    mailbox.advance(Stage::Ended);
    thread.join().expect("it ends in order");
}
