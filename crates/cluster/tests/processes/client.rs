//! A peer of a node.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// An answer takes at most this time, unless its node was stopped.
const WITHIN: Duration = Duration::from_secs(20);

pub(crate) struct Client {
    stream: BufReader<TcpStream>,
    line: Vec<u8>,
    /// The messages that came before the last answer.
    pub(crate) messages: Vec<String>,
}

impl Client {
    pub(crate) async fn connect(port: u16) -> io::Result<Self> {
        let stream = BufReader::new(TcpStream::connect(("127.0.0.1", port)).await?);
        Ok(Client { stream, line: Vec::new(), messages: Vec::new() })
    }

    pub(crate) async fn send(&mut self, line: &str) -> io::Result<()> {
        self.stream.write_all(format!("{line}\n").as_bytes()).await
    }

    /// The next line. Can be dropped without a loss.
    pub(crate) async fn next(&mut self) -> io::Result<String> {
        if self.stream.read_until(b'\n', &mut self.line).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let line = String::from_utf8(std::mem::take(&mut self.line)).unwrap();
        Ok(line.trim_end().to_owned())
    }

    /// The next answer. Messages before it are kept.
    pub(crate) async fn answer(&mut self) -> io::Result<String> {
        let answer = async {
            loop {
                let line = self.next().await?;
                match line.strip_prefix("= ") {
                    Some(answer) => return Ok(answer.to_owned()),
                    None => self.messages.push(line),
                }
            }
        };
        tokio::time::timeout(WITHIN, answer).await.map_err(|_| io::ErrorKind::TimedOut)?
    }

    pub(crate) async fn ask(&mut self, line: &str) -> io::Result<String> {
        self.send(line).await?;
        self.answer().await
    }

    /// Asks until the answer is this one.
    pub(crate) async fn until(&mut self, line: &str, expected: &str) {
        let mut last = String::new();
        let within = tokio::time::timeout(WITHIN * 2, async {
            loop {
                last = self.ask(line).await.unwrap_or_else(|error| panic!("{line:?}: {error}, after {last:?}"));
                if last == expected {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        assert!(within.await.is_ok(), "{line:?}: {last:?} instead of {expected:?}");
    }

    /// Waits until the node has closed the connection.
    pub(crate) async fn until_closed(&mut self) {
        let closed = async { while self.next().await.is_ok() {} };
        assert!(tokio::time::timeout(WITHIN, closed).await.is_ok(), "the connection is open");
    }
}
