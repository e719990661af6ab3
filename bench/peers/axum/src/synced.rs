//! Bodies appended to one file by one thread, each time all that have come: nothing around them, no order to keep, no
//! reader, no start. Written as a log that wants to be fast writes: into room that was made before, in one call, one sync.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use axum::extract::State;
use axum::response::IntoResponse;
use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

/// Room that is made at a time.
static ZEROS: [u8; 1 << 20] = [0; 1 << 20];

/// A body and who waits for it.
type Job = (Bytes, oneshot::Sender<()>);

/// Starts the thread that writes. It ends the program where it cannot.
pub fn start(path: &Path) -> io::Result<mpsc::Sender<Job>> {
    let file = File::create(path)?;
    let (sender, jobs) = mpsc::channel(4_096);
    std::thread::Builder::new().name("writer".into()).spawn(move || {
        if let Err(error) = write(&file, jobs) {
            eprintln!("{error}");
            std::process::exit(1);
        }
    })?;
    Ok(sender)
}

fn write(file: &File, mut jobs: mpsc::Receiver<Job>) -> io::Result<()> {
    let (mut end, mut room, mut batch, mut waiting) = (0, 0, Vec::new(), Vec::new());
    while let Some(first) = jobs.blocking_recv() {
        // Whoever is on the way with another one on this core goes first.
        std::thread::yield_now();
        let mut job = Some(first);
        while let Some((body, done)) = job {
            batch.extend_from_slice(&body);
            waiting.push(done);
            job = jobs.try_recv().ok();
        }
        if end + batch.len() as u64 > room {
            file.write_all_at(&ZEROS, end)?;
            room = end + ZEROS.len() as u64;
        }
        file.write_all_at(&batch, end)?;
        file.sync_data()?;
        end += batch.len() as u64;
        batch.clear();
        // Who went away need not know.
        waiting.drain(..).for_each(|done| _ = done.send(()));
    }
    Ok(())
}

/// Answers when the body is synced.
pub async fn publish(State(writer): State<mpsc::Sender<Job>>, body: Bytes) -> impl IntoResponse {
    let (done, is_done) = oneshot::channel();
    writer.send((body, done)).await.expect("the writer ends with the program");
    is_done.await.expect("the writer ends with the program");
    crate::answer()
}
