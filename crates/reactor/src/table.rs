//! A file table of a thread's own: where a process may have fewer descriptors than there are streams and cannot raise its
//! limit, each reactor has the limit for itself.
//!
//! **Call order.** First whatever reaches the thread by a descriptor is opened: the runtime, all mailboxes, the listeners.
//! Then the thread starts, and [`own`] is the first thing it does. Until that has returned, nobody closes a listener
//! elsewhere.
//!
//! **Invariant:** from then on a number means one thing here and another elsewhere, but for what was kept. So nothing that
//! holds a descriptor crosses: files are read and written on threads of the log, sockets go to others by `SCM_RIGHTS`.
#![expect(unsafe_code, reason = "a table of its own is what the borrow checker knows nothing of")]

use std::fs::read_dir;
use std::io;
use std::net::TcpListener;
use std::os::fd::{BorrowedFd, FromRawFd as _, RawFd};

use rustix::fs::{FileType, fstat};
use rustix::net::{AddressFamily, sockopt};
use rustix::thread::{UnshareFlags, unshare_unsafe};

/// Descriptors that every process begins with.
const STANDARD: RawFd = 2;

/// Gives the calling thread, and threads it will start, a table of their own, with copies of these listeners. What else
/// was open is closed in it, save what other threads wake or are woken by (event counters, pipes, local sockets).
///
/// # Errors
/// What the system says. The thread is to be ended then, it may have either table.
pub fn own(listeners: &[RawFd]) -> io::Result<Vec<TcpListener>> {
    // SAFETY: the thread has opened nothing yet, and what is opened elsewhere from now on does not reach it (see the
    // invariant of this file). What was opened before keeps its number in both tables, or is closed here below, where
    // nothing names it.
    unsafe { unshare_unsafe(UnshareFlags::FILES)? };
    for number in open()? {
        if number > STANDARD && !listeners.contains(&number) && is_foreign(number) {
            // SAFETY: the number is open in this table, and nothing in this thread names it.
            unsafe { rustix::io::close(number) };
        }
    }
    // SAFETY: these are this table's own copies, which nothing else owns.
    Ok(listeners.iter().map(|number| unsafe { TcpListener::from_raw_fd(*number) }).collect())
}

/// The numbers that are open in this thread's table, and the one under which they were read.
fn open() -> io::Result<Vec<RawFd>> {
    let number = |entry: io::Result<std::fs::DirEntry>| match entry {
        Ok(entry) => entry.file_name().to_str().and_then(|name| name.parse().ok()).map(Ok),
        Err(error) => Some(Err(error)),
    };
    read_dir("/proc/thread-self/fd")?.filter_map(number).collect()
}

/// Whether a thread that serves connections has no use for it: files, and sockets to other machines.
fn is_foreign(number: RawFd) -> bool {
    // SAFETY: used for two questions to the system, within which nobody closes it: this table is known to this thread
    // only. A number that is closed by now is answered with an error.
    let descriptor = unsafe { BorrowedFd::borrow_raw(number) };
    let Ok(stat) = fstat(descriptor) else { return false };
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile | FileType::Directory | FileType::BlockDevice => true,
        FileType::Socket => sockopt::socket_domain(descriptor) != Ok(AddressFamily::UNIX),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{Read as _, Write as _};
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsRawFd as _;

    use super::*;
    use crate::Mailbox;
    use crate::mailbox::Stage;

    #[test]
    fn what_is_opened_in_one_table_is_unknown_in_the_other_and_mail_arrives_in_both() {
        let file = File::open(std::env::temp_dir()).unwrap();
        let mailbox = Mailbox::new().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let (number, file_number) = (listener.as_raw_fd(), file.as_raw_fd());
        let (told, wait) = std::sync::mpsc::sync_channel(1);
        let thread = std::thread::spawn(move || {
            let listeners = own(&[number]).unwrap();
            let foreign = open().unwrap().into_iter().filter(|n| *n > STANDARD && is_foreign(*n));
            assert_eq!(
                foreign.collect::<Vec<_>>(),
                [number],
                "of all sockets and files the listener is left"
            );
            assert!(!is_foreign(file_number));
            told.send(()).unwrap();
            let (mut socket, _) = listeners[0].accept().unwrap();
            socket.write_all(b"hello").unwrap();
            assert!(mailbox.may_sleep(Stage::Serving, false));
            mailbox.advance(Stage::Stopping);
            mailbox
        });
        wait.recv().unwrap();
        // Closed here, still open there.
        drop(listener);
        let mut text = [0; 5];
        TcpStream::connect(addr).unwrap().read_exact(&mut text).unwrap();
        assert_eq!(&text, b"hello");
        let mailbox = thread.join().unwrap();
        assert_eq!(rustix::io::read(&mailbox, &mut [0; 8]), Ok(8), "what was written there is read here");
        assert!(file.metadata().is_ok(), "closed there only");
    }
}
