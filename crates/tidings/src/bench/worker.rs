//! A worker: a process that opens a share of the streams and reads them, one thread over epoll.
//!
//! It is told on standard input (`r`: begin to count; the end: tell all and stop) and tells on standard output, a line each
//! time (`s …`: how far it is; `h …`: a part of the latencies; `e`: the end).

use clap::{Arg, ArgMatches, Command};

use crate::failure::Failure;

/// What the parent types.
pub(crate) fn command() -> Command {
    let args =
        ["addr", "host", "path", "source", "first", "count", "topics", "connecting", "header", "trace"];
    let arg = |name: &'static str| Arg::new(name).long(name).num_args(1).action(clap::ArgAction::Append);
    Command::new("bench-worker").hide(true).args(args.map(arg))
}

/// Works.
///
/// # Errors
/// What the system refuses.
#[cfg(not(target_os = "linux"))]
pub(crate) fn run(_matches: &ArgMatches) -> Result<(), Failure> {
    Err(Failure::usage("tidings bench needs Linux"))
}

/// Works.
///
/// # Errors
/// What the system refuses.
#[cfg(target_os = "linux")]
pub(crate) fn run(matches: &ArgMatches) -> Result<(), Failure> {
    linux::Worker::new(matches)?.run()
}

/// Nanoseconds on a clock that all processes of this machine share.
pub(super) fn now_ns() -> u64 {
    #[cfg(target_os = "linux")]
    {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        let (s, ns) = (u64::try_from(now.tv_sec).unwrap_or(0), u64::try_from(now.tv_nsec).unwrap_or(0));
        s * 1_000_000_000 + ns
    }
    #[cfg(not(target_os = "linux"))]
    0
}

#[cfg(target_os = "linux")]
mod linux {
    use std::io::Write as _;
    use std::net::{IpAddr, SocketAddr};
    use std::os::fd::OwnedFd;
    use std::path::PathBuf;
    use std::time::{Duration, Instant};

    use clap::ArgMatches;
    use rustix::event::{Timespec, epoll};
    use rustix::io::Errno;
    use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

    use super::super::scan::{Refused, Scan, Tally};
    use super::super::trace;
    use super::now_ns;
    use crate::failure::Failure;

    const READ_BYTES: usize = 256 << 10;
    const TELL_EVERY: Duration = Duration::from_millis(20);
    const STDIN: u64 = u64::MAX;

    struct Stream {
        socket: OwnedFd,
        /// What is left of the request.
        request: Option<Vec<u8>>,
        scan: Scan,
        /// What it asked for and received, where it is written down in the end.
        trace: Option<Vec<u8>>,
    }

    pub(super) struct Worker {
        addr: SocketAddr,
        source: Option<IpAddr>,
        host: String,
        path: String,
        headers: Vec<String>,
        first: u64,
        count: u64,
        topics: u64,
        connecting_max: usize,
        trace: Option<PathBuf>,
        epoll: OwnedFd,
        streams: Vec<Option<Stream>>,
        tally: Tally,
        failed: u64,
        lost: u64,
        reason: Option<String>,
        buffer: Vec<u8>,
    }

    impl Worker {
        pub(super) fn new(matches: &ArgMatches) -> Result<Self, Failure> {
            let text = |name: &str| matches.get_one::<String>(name).cloned().unwrap_or_default();
            let number = |name: &str| text(name).parse().unwrap_or(0);
            let wrong = |_| Failure::usage("bench-worker is started by tidings bench");
            Ok(Self {
                addr: text("addr").parse().map_err(wrong)?,
                source: text("source").parse().ok(),
                host: text("host"),
                path: text("path"),
                headers: matches.get_many::<String>("header").into_iter().flatten().cloned().collect(),
                first: number("first"),
                count: number("count"),
                topics: number("topics").max(1),
                connecting_max: text("connecting").parse().unwrap_or(256),
                trace: matches.get_one::<String>("trace").map(PathBuf::from),
                epoll: epoll::create(epoll::CreateFlags::CLOEXEC).map_err(system)?,
                streams: Vec::new(),
                tally: Tally::new()?,
                failed: 0,
                lost: 0,
                reason: None,
                buffer: vec![0; READ_BYTES],
            })
        }

        pub(super) fn run(mut self) -> Result<(), Failure> {
            let stdin = std::io::stdin();
            let data = epoll::EventData::new_u64(STDIN);
            epoll::add(&self.epoll, &stdin, data, epoll::EventFlags::IN).map_err(system)?;
            let mut events = Vec::with_capacity(1_024);
            let mut told = Instant::now();
            loop {
                self.connect_more();
                let timeout = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };
                events.clear();
                let spare = rustix::buffer::spare_capacity(&mut events);
                match epoll::wait(&self.epoll, spare, Some(&timeout)) {
                    Ok(_) | Err(Errno::INTR) => {}
                    Err(error) => return Err(system(error)),
                }
                for event in events.drain(..) {
                    if event.data.u64() == STDIN {
                        let mut order = [0; 16];
                        match rustix::io::read(&stdin, &mut order) {
                            Ok(0) | Err(_) => return self.finish(),
                            Ok(_) => self.begin_to_count(),
                        }
                    } else {
                        self.handle(usize::try_from(event.data.u64()).unwrap_or(usize::MAX), event.flags);
                    }
                }
                if told.elapsed() >= TELL_EVERY {
                    told = Instant::now();
                    self.tell()?;
                }
            }
        }

        fn begin_to_count(&mut self) {
            self.tally.latency_us.reset();
            self.tally.bytes = 0;
        }

        fn connect_more(&mut self) {
            let settled = usize::try_from(self.tally.opened + self.failed).unwrap_or(usize::MAX);
            while (self.streams.len() as u64) < self.count
                && self.streams.len().saturating_sub(settled) < self.connecting_max
            {
                let number = self.streams.len();
                match self.connect(number) {
                    Ok(mut stream) => {
                        if self.trace.is_some() && number < trace::STREAMS {
                            stream.trace.clone_from(&stream.request);
                        }
                        self.streams.push(Some(stream));
                    }
                    Err(error) => {
                        self.streams.push(None);
                        self.fail(error.to_string());
                    }
                }
            }
        }

        fn connect(&self, number: usize) -> Result<Stream, Errno> {
            let family = if self.addr.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
            let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
            let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
            if let Some(source) = self.source {
                rustix::net::bind(&socket, &SocketAddr::new(source, 0))?;
            }
            match rustix::net::connect(&socket, &self.addr) {
                Ok(()) | Err(Errno::INPROGRESS) => {}
                Err(error) => return Err(error),
            }
            let topic = (self.first + number as u64) % self.topics;
            let topic = topic.to_string();
            let path = self.path.replace("%7B%7D", &topic).replace("{}", &topic);
            let mut request =
                format!("GET {path} HTTP/1.1\r\nHost: {}\r\nAccept: text/event-stream\r\n", self.host);
            for header in &self.headers {
                request.push_str(header);
                request.push_str("\r\n");
            }
            request.push_str("\r\n");
            let flags = epoll::EventFlags::IN | epoll::EventFlags::OUT | epoll::EventFlags::ET;
            epoll::add(&self.epoll, &socket, epoll::EventData::new_u64(number as u64), flags)?;
            Ok(Stream { socket, request: Some(request.into_bytes()), scan: Scan::default(), trace: None })
        }

        fn handle(&mut self, number: usize, flags: epoll::EventFlags) {
            let Some(Some(stream)) = self.streams.get_mut(number) else { return };
            if flags.contains(epoll::EventFlags::OUT)
                && let Some(request) = stream.request.take()
            {
                // A request fits into an empty buffer.
                if rustix::net::send(&stream.socket, &request, SendFlags::NOSIGNAL) != Ok(request.len()) {
                    return self.drop_stream(number, "the connection was refused");
                }
            }
            let why = loop {
                let Some(Some(stream)) = self.streams.get_mut(number) else { return };
                match rustix::net::recv(&stream.socket, &mut self.buffer[..], RecvFlags::empty()) {
                    Ok((0, _)) => break "the server ended the stream".to_owned(),
                    Ok((read, _)) => {
                        let bytes = &self.buffer[..read];
                        if let Some(trace) = &mut stream.trace {
                            trace.extend_from_slice(bytes);
                        }
                        if let Err(Refused(why)) = stream.scan.read(bytes, now_ns(), &mut self.tally) {
                            break why;
                        }
                        if read < self.buffer.len() {
                            return;
                        }
                    }
                    Err(Errno::AGAIN) => return,
                    Err(Errno::INTR) => {}
                    Err(error) => break error.to_string(),
                }
            };
            self.drop_stream(number, &why);
        }

        fn drop_stream(&mut self, number: usize, why: &str) {
            let gone = self.streams.get_mut(number).and_then(Option::take);
            match gone {
                Some(stream) if stream.scan.has_begun() => self.lost += 1,
                _ => self.failed += 1,
            }
            self.reason.get_or_insert_with(|| why.to_owned());
        }

        fn fail(&mut self, why: String) {
            self.failed += 1;
            self.reason.get_or_insert(why);
        }

        fn tell(&mut self) -> Result<(), Failure> {
            let Tally { opened, received, missing, repeated, bytes, .. } = &self.tally;
            let (failed, lost) = (self.failed, self.lost);
            let why = self.reason.as_deref().unwrap_or("-");
            let line = format!("s {opened} {failed} {received} {missing} {repeated} {bytes} {lost} {why}\n");
            say(&line)
        }

        fn finish(mut self) -> Result<(), Failure> {
            for (number, stream) in self.streams.iter().enumerate().take(trace::STREAMS) {
                if let Some((dir, bytes)) =
                    self.trace.as_ref().zip(stream.as_ref().and_then(|s| s.trace.as_ref()))
                {
                    trace::stream(dir, self.first + number as u64, bytes)?;
                }
            }
            self.tell()?;
            let mut text = String::new();
            for value in self.tally.latency_us.iter_recorded() {
                text.push_str(&format!("h {} {}\n", value.value_iterated_to(), value.count_at_value()));
            }
            text.push_str("e\n");
            say(&text)
        }
    }

    fn say(text: &str) -> Result<(), Failure> {
        let mut out = std::io::stdout().lock();
        out.write_all(text.as_bytes())
            .and_then(|()| out.flush())
            .map_err(|error| Failure::new(format!("nobody listens to the worker: {error}")))
    }

    fn system(error: Errno) -> Failure {
        Failure::new(format!("the system refuses: {error}"))
    }
}
