//! A connection that must say soon which protocol it speaks, and read what it is told.
//!
//! hyper waits without limit while what has come may still become the opening of HTTP/2, and while nothing can be
//! written.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};

/// How a connection of HTTP/2 opens.
const OPENING: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A connection whose opening has a limited time.
pub(super) struct Punctual {
    stream: TcpStream,
    /// How much of the opening has come; it alone, and nothing else.
    come: usize,
    /// Set while the opening may still be on its way.
    alarm: Option<Pin<Box<Sleep>>>,
    /// How long bytes may wait to be taken by the other end.
    unread: Duration,
    /// Set while bytes wait.
    stuck: Option<Pin<Box<Sleep>>>,
}

impl Punctual {
    /// Of a connection that may take `patience` for its opening, and `unread` until it takes more of what waits for it.
    pub(super) fn new(stream: TcpStream, patience: Duration, unread: Duration) -> Punctual {
        Punctual { stream, come: 0, alarm: Some(Box::pin(sleep(patience))), unread, stuck: None }
    }

    /// Passes on how writing went, unless nothing could be written for too long.
    fn in_time<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stuck = None;
            return written;
        }
        let unread = self.unread;
        ready!(self.stuck.get_or_insert_with(|| Box::pin(sleep(unread))).as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    /// Takes note of what has come while the alarm is set.
    fn note(&mut self, bytes: &[u8]) {
        let awaited = &OPENING[self.come..];
        if bytes.is_empty() || bytes.len() >= awaited.len() || !awaited.starts_with(bytes) {
            self.alarm = None;
        } else {
            self.come += bytes.len();
        }
    }
}

impl AsyncRead for Punctual {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        let Some(alarm) = &mut self.alarm else { return read };
        if read.is_pending() {
            ready!(alarm.as_mut().poll(cx));
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        self.note(&buffer.filled()[before..]);
        read
    }
}

impl AsyncWrite for Punctual {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.in_time(cx, written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.in_time(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.in_time(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
