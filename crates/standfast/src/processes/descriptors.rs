//! File descriptors over a Unix socket: one byte that says what it is, and at most one descriptor with it.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
};
use tokio::io::Interest;
use tokio::net::UnixStream;

/// What a descriptor, or a byte without one, means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tag {
    /// A control connection begins; with it comes the end of its door.
    Begin = b'B' as isize,
    /// The API's listening socket: accept from it.
    Listener = b'L' as isize,
    /// Is there a listening socket already? Answered with `Listener` or `Nothing`.
    Which = b'W' as isize,
    Nothing = b'N' as isize,
    /// From now on the data plane accepts.
    Accepting = b'A' as isize,
    /// A client's connection, of which nothing has been read.
    Connection = b'C' as isize,
}

impl Tag {
    fn of(byte: u8) -> io::Result<Self> {
        [Self::Begin, Self::Listener, Self::Which, Self::Nothing, Self::Accepting, Self::Connection]
            .into_iter()
            .find(|tag| *tag as u8 == byte)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "not a tag"))
    }
}

/// Sends; waits as the socket does.
pub fn send(socket: impl AsFd, tag: Tag, descriptor: Option<BorrowedFd<'_>>) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let descriptors: Vec<BorrowedFd<'_>> = descriptor.into_iter().collect();
    if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(&descriptors)) {
        return Err(io::Error::other("no room for a descriptor"));
    }
    rustix::net::sendmsg(socket, &[IoSlice::new(&[tag as u8])], &mut control, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// Receives; waits as the socket does. `None` at the end of the stream.
pub fn receive(socket: impl AsFd) -> io::Result<Option<(Tag, Option<OwnedFd>)>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0u8];
    let got = rustix::net::recvmsg(socket, &mut [IoSliceMut::new(&mut byte)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let mut descriptor = None;
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(mut all) = message {
            descriptor = all.next();
        }
    }
    if got.bytes == 0 { Ok(None) } else { Ok(Some((Tag::of(byte[0])?, descriptor))) }
}

/// `send` without blocking the thread.
pub async fn send_on(socket: &UnixStream, tag: Tag, descriptor: Option<BorrowedFd<'_>>) -> io::Result<()> {
    socket.async_io(Interest::WRITABLE, || send(socket, tag, descriptor)).await
}

/// `receive` without blocking the thread. Safe to cancel.
pub async fn receive_on(socket: &UnixStream) -> io::Result<Option<(Tag, Option<OwnedFd>)>> {
    socket.async_io(Interest::READABLE, || receive(socket)).await
}
