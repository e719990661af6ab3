//! How connections get from a reactor that has a file table of its own to the runtime: the socket as `SCM_RIGHTS` over a pair of
//! local sockets, what was read of it beside.
//!
//! **Invariant:** a connection that does not arrive gives its room back.

use std::collections::HashMap;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::TcpStream;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use parking_lot::Mutex;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, Shutdown, SocketFlags, SocketType, recvmsg, sendmsg, shutdown,
    socketpair,
};
use tracing::warn;

/// The way across. Both ends are opened before any table is unshared, so they have the same numbers in all.
pub(crate) struct Crossing {
    from: OwnedFd,
    to: OwnedFd,
    /// What was read of those that are under way.
    read: Mutex<HashMap<u64, Vec<u8>>>,
    next: AtomicU64,
}

impl Crossing {
    /// One way, for all reactors.
    ///
    /// # Errors
    /// What the system says if it has no descriptor left.
    pub(crate) fn open() -> io::Result<Arc<Self>> {
        let (from, to) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        Ok(Arc::new(Self { from, to, read: Mutex::default(), next: AtomicU64::new(0) }))
    }

    /// Waits until there is room on the way.
    fn send(&self, socket: &TcpStream, read: Vec<u8>) -> io::Result<()> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.read.lock().insert(number, read);
        let descriptors = [socket.as_fd()];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        control.push(SendAncillaryMessage::ScmRights(&descriptors));
        let sent = loop {
            let bytes = number.to_ne_bytes();
            match sendmsg(&self.from, &[IoSlice::new(&bytes)], &mut control, SendFlags::NOSIGNAL) {
                Err(rustix::io::Errno::INTR) => {}
                other => break other,
            }
        };
        if let Err(error) = sent {
            self.read.lock().remove(&number);
            return Err(error.into());
        }
        Ok(())
    }

    /// The next one that arrives, `Err` if it was lost on the way; `None` when the way is closed.
    fn receive(&self) -> Option<io::Result<Connection>> {
        let mut number = [0; 8];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let got = loop {
            match recvmsg(
                &self.to,
                &mut [IoSliceMut::new(&mut number)],
                &mut control,
                RecvFlags::CMSG_CLOEXEC,
            ) {
                Ok(message) => break message,
                Err(rustix::io::Errno::INTR) => {}
                // No connection is lost by that: it is still on its way, and asked for again.
                Err(error) => {
                    warn!(%error, "the system does not give what crosses between threads");
                    std::thread::sleep(RECEIVE_PAUSE);
                }
            }
        };
        if got.bytes == 0 {
            return None;
        }
        let read = self.read.lock().remove(&u64::from_ne_bytes(number)).unwrap_or_default();
        let socket = control.drain().find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
            _ => None,
        });
        // The system lets a message through without its descriptor if there is no room for it.
        let full = || io::Error::other("no descriptor is left for a connection that no reactor serves");
        Some(socket.map(|socket| (TcpStream::from(socket), read)).ok_or_else(full))
    }

    /// Nothing goes across any more.
    fn close(&self) {
        // It cannot fail on a pair that is open.
        _ = shutdown(&self.to, Shutdown::Both);
    }
}

/// The side of a reactor: a thread that shares its table and waits in its place.
pub(crate) struct Leaving {
    crossing: Arc<Crossing>,
    lost: Arc<dyn Fn(io::Error) + Send + Sync>,
    thread: Option<(Sender, JoinHandle<()>)>,
}

/// After the system refused to give what waits.
const RECEIVE_PAUSE: Duration = Duration::from_millis(100);

/// A connection, and what was read of it.
type Connection = (TcpStream, Vec<u8>);
type Sender = mpsc::SyncSender<Connection>;

/// Connections that wait to be sent across. More than these come faster than the runtime takes any, and are cut.
const LEAVING_MAX: usize = 1_024;

impl Leaving {
    /// From the reactor on whose thread it will be used; `lost` is told of each connection that does not get there.
    pub(crate) fn new(crossing: Arc<Crossing>, lost: Arc<dyn Fn(io::Error) + Send + Sync>) -> Self {
        Self { crossing, lost, thread: None }
    }

    /// Sends a connection across.
    pub(crate) fn send(&mut self, socket: TcpStream, read: Vec<u8>) {
        let handed = match self.sender() {
            Ok(sender) => {
                sender.send((socket, read)).map_err(|_| io::Error::other("the way across is closed"))
            }
            Err(error) => Err(error),
        };
        if let Err(error) = handed {
            (self.lost)(error);
        }
    }

    /// The thread is started with the first connection: most reactors never need it.
    fn sender(&mut self) -> io::Result<&Sender> {
        if self.thread.is_none() {
            let (sender, leaving) = mpsc::sync_channel::<Connection>(LEAVING_MAX);
            let (crossing, lost) = (Arc::clone(&self.crossing), Arc::clone(&self.lost));
            // A thread shares the table of the one that starts it.
            let thread = Builder::new().name("tidings-leaving".into()).spawn(move || {
                for (socket, read) in leaving {
                    if let Err(error) = crossing.send(&socket, read) {
                        lost(error);
                    }
                }
            })?;
            self.thread = Some((sender, thread));
        }
        self.thread.as_ref().map(|(sender, _)| sender).ok_or_else(|| io::Error::other("no thread"))
    }
}

impl Drop for Leaving {
    fn drop(&mut self) {
        if let Some((sender, thread)) = self.thread.take() {
            drop(sender);
            // One that ended in a panic has told.
            _ = thread.join();
        }
    }
}

/// The side of the runtime: a thread that takes what arrives.
pub(crate) struct Arriving {
    crossing: Arc<Crossing>,
    thread: Option<JoinHandle<()>>,
}

impl Arriving {
    /// Gives what arrives, or why it did not, to somebody.
    ///
    /// # Errors
    /// What the system says if it starts no thread.
    pub(crate) fn start(
        crossing: Arc<Crossing>,
        mut arrived: impl FnMut(io::Result<Connection>) + Send + 'static,
    ) -> io::Result<Self> {
        let way = Arc::clone(&crossing);
        let thread = Builder::new().name("tidings-arriving".into()).spawn(move || {
            while let Some(connection) = way.receive() {
                arrived(connection);
            }
        })?;
        Ok(Self { crossing, thread: Some(thread) })
    }
}

impl Drop for Arriving {
    fn drop(&mut self) {
        self.crossing.close();
        if let Some(Err(_)) = self.thread.take().map(JoinHandle::join) {
            warn!("the thread that takes connections over ended by a defect; report it");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;
    use std::os::fd::AsRawFd as _;

    use super::*;

    #[test]
    fn a_connection_crosses_from_one_table_into_another_with_what_was_read() {
        let crossing = Crossing::open().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let (sender, arrived) = mpsc::sync_channel(1);
        let arriving = Arriving::start(Arc::clone(&crossing), move |connection| {
            sender.send(connection).unwrap();
        });
        let (way, number) = (Arc::clone(&crossing), listener.as_raw_fd());
        let thread = std::thread::spawn(move || {
            let listener = tidings_reactor::table::own(&[number]).unwrap().remove(0);
            let mut leaving = Leaving::new(way, Arc::new(|error| panic!("{error}")));
            for n in 0..300 {
                let (socket, _) = listener.accept().unwrap();
                leaving.send(socket, vec![b'x'; n]);
            }
        });
        for n in 0..300 {
            let mut client = TcpStream::connect(addr).unwrap();
            let (mut socket, read) = arrived.recv().unwrap().unwrap();
            assert_eq!(read.len(), n);
            socket.write_all(b"y").unwrap();
            drop(socket);
            let mut text = String::new();
            client.read_to_string(&mut text).unwrap();
            assert_eq!(text, "y", "no copy of it stays open on the other side");
        }
        thread.join().unwrap();
        drop(arriving);
        assert!(arrived.recv().is_err() && crossing.read.lock().is_empty());
    }
}
