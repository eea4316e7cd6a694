//! A fan-out written with tokio alone: one task per connection, and `tokio::sync::broadcast` for the topic.

use std::future::pending;
use std::io;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::sync::broadcast::{channel, Receiver, Sender};

/// How a task writes the lines that wait for it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Writes {
    /// One write for each line.
    EachLine,
    /// One write for all lines that its receiver has.
    AllLines,
}

/// More lines than any row has on the way at once: a receiver that lags behind this far loses lines.
pub(crate) const CAPACITY: usize = 65_536;

/// The function that serves a connection. It understands [`Dialect::Verbs`](crate::members::Dialect::Verbs).
pub(crate) fn server(writes: Writes) -> impl Fn(TcpStream) {
    let (topic, _) = channel(CAPACITY);
    move |stream| {
        tokio::spawn(serve(stream, topic.clone(), writes));
    }
}

async fn serve(mut stream: TcpStream, topic: Sender<Bytes>, writes: Writes) -> io::Result<()> {
    let mut input = BytesMut::with_capacity(8 * 1024);
    let mut output = Vec::new();
    let mut membership: Option<Receiver<Bytes>> = None;
    loop {
        tokio::select! {
            read = stream.read_buf(&mut input) => {
                if read? == 0 {
                    return Ok(());
                }
                while let Some(end) = input.iter().position(|byte| *byte == b'\n') {
                    let line = input.split_to(end + 1).freeze();
                    match line[0] {
                        b'j' => {
                            membership = Some(topic.subscribe());
                            stream.write_all(b"joined\n").await?;
                        }
                        b'p' => drop(topic.send(line)),
                        b'a' => {
                            drop(topic.send(line));
                            stream.write_all(b"ok\n").await?;
                        }
                        _ => stream.write_all(&line).await?,
                    }
                }
                input.reserve(8 * 1024);
            }
            line = next(&mut membership) => {
                let line = line.map_err(io::Error::other)?;
                if writes == Writes::EachLine {
                    stream.write_all(&line).await?;
                    continue;
                }
                output.clear();
                output.extend_from_slice(&line);
                drain(&mut membership, &mut output)?;
                stream.write_all(&output).await?;
            }
        }
    }
}

/// The next line for a member. Never, for a connection that is none.
pub(crate) async fn next(membership: &mut Option<Receiver<Bytes>>) -> Result<Bytes, RecvError> {
    match membership {
        Some(receiver) => receiver.recv().await,
        None => pending().await,
    }
}

/// Appends the lines that are there already. A line that was lost ends the connection.
pub(crate) fn drain(membership: &mut Option<Receiver<Bytes>>, output: &mut Vec<u8>) -> io::Result<()> {
    let Some(receiver) = membership else {
        return Ok(());
    };
    loop {
        match receiver.try_recv() {
            Ok(line) => output.extend_from_slice(&line),
            Err(TryRecvError::Empty) => return Ok(()),
            Err(lost) => return Err(io::Error::other(lost)),
        }
    }
}
