//! A connection's bytes: those that were read to find out what it speaks, then the rest, with the framing of
//! HTTP/1 followed on the way in.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};

use super::framing::Framing;

/// How an HTTP/2 client begins (RFC 9113, 3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Speaks {
    /// HTTP/1.0 or HTTP/1.1.
    Http1,
    /// HTTP/2.
    Http2,
}

/// A stream whose first bytes were looked at.
#[derive(Debug)]
pub(crate) struct Stream<T> {
    /// Read already, not yet passed on.
    read: Bytes,
    framing: Option<Framing>,
    inner: T,
}

impl<T: AsyncRead + Unpin> Stream<T> {
    /// Reads until it is clear what the client speaks. `read` is what was read of it before.
    ///
    /// # Errors
    /// [`io::ErrorKind::TimedOut`] if that takes longer than `within`, [`io::ErrorKind::UnexpectedEof`] if the
    /// client left, or what the system says.
    pub(crate) async fn open(mut inner: T, read: Vec<u8>, within: Duration) -> io::Result<(Self, Speaks)> {
        let mut read = read;
        let sniff = async {
            loop {
                let known = read.len().min(PREFACE.len());
                match read.get(..known) != PREFACE.get(..known) {
                    true => return Ok(Speaks::Http1),
                    false if known == PREFACE.len() => return Ok(Speaks::Http2),
                    false => {}
                }
                let mut more = [0; PREFACE.len()];
                let count = inner.read(&mut more).await?;
                if count == 0 {
                    return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
                }
                read.extend_from_slice(more.get(..count).unwrap_or_default());
            }
        };
        let speaks = tokio::time::timeout(within, sniff)
            .await
            .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        let mut framing = (speaks == Speaks::Http1).then(Framing::default);
        if let Some(framing) = &mut framing {
            framing.pass(&mut read);
        }
        Ok((Self { read: read.into(), framing, inner }, speaks))
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Stream<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if !this.read.is_empty() {
            let bytes = this.read.len().min(buf.remaining());
            buf.put_slice(&this.read.split_to(bytes));
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.inner).poll_read(cx, buf))?;
        if let Some(framing) = &mut this.framing {
            framing.pass(buf.filled_mut().get_mut(before..).unwrap_or_default());
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Stream<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;

    use super::*;

    async fn check(sent: &[u8], expected: Result<Speaks, io::ErrorKind>) {
        for cut in 0..=sent.len().min(30) {
            let (mut client, server) = tokio::io::duplex(256);
            let (head, tail) = sent.split_at(cut);
            let (head, tail) = (head.to_vec(), tail.to_vec());
            let writer = tokio::spawn(async move {
                client.write_all(&head).await.unwrap();
                tokio::task::yield_now().await;
                client.write_all(&tail).await.unwrap();
            });
            let opened = Stream::open(server, Vec::new(), Duration::from_secs(5)).await;
            writer.await.unwrap();
            assert_eq!(
                opened.as_ref().map(|(_, speaks)| *speaks).map_err(io::Error::kind),
                expected,
                "{cut}"
            );
            if let Ok((mut stream, _)) = opened {
                let mut all = Vec::new();
                stream.read_to_end(&mut all).await.unwrap();
                assert_eq!(all, sent, "{cut}");
            }
        }
    }

    #[tokio::test]
    async fn the_first_bytes_tell_and_are_not_lost() {
        check(b"GET / HTTP/1.1\r\n\r\n", Ok(Speaks::Http1)).await;
        check(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04", Ok(Speaks::Http2)).await;
        check(b"PRI * HTTP/2.0\r\n\r\nXX", Ok(Speaks::Http1)).await;
        check(b"PUT / HTTP/1.1\r\n\r\n", Ok(Speaks::Http1)).await;
        check(b"P", Err(io::ErrorKind::UnexpectedEof)).await;
        check(b"", Err(io::ErrorKind::UnexpectedEof)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn silence_ends() {
        let (mut client, server) = tokio::io::duplex(256);
        client.write_all(b"PRI").await.unwrap();
        let ended = Stream::open(server, Vec::new(), Duration::from_secs(10)).await;
        assert_eq!(ended.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }
}
