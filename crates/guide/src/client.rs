//! A client that sends and receives lines, with a time limit.

use std::io::{Error, ErrorKind, Result};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpStream, ToSocketAddrs};

/// How long a client waits for the server.
const LIMIT: Duration = Duration::from_secs(10);

/// A TCP client for the code of the pages.
#[derive(Debug)]
pub struct Client(BufReader<TcpStream>);

impl Client {
    /// Connects to a server.
    pub async fn connect(addr: impl ToSocketAddrs) -> Result<Self> {
        Ok(Client(BufReader::new(within(TcpStream::connect(addr)).await?)))
    }

    /// Sends a line.
    pub async fn say(&mut self, line: &str) -> Result<()> {
        self.send(format!("{line}\n").as_bytes()).await
    }

    /// Sends bytes.
    pub async fn send(&mut self, bytes: &[u8]) -> Result<()> {
        within(self.0.write_all(bytes)).await
    }

    /// Receives the next line, without its end. An error if the server has closed the connection.
    pub async fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        match within(self.0.read_line(&mut line)).await? {
            0 => Err(ErrorKind::UnexpectedEof.into()),
            _ => Ok(line.trim_end().to_owned()),
        }
    }

    /// Sends a line and receives one.
    pub async fn ask(&mut self, line: &str) -> Result<String> {
        self.say(line).await?;
        self.line().await
    }

    /// Receives this number of bytes.
    pub async fn bytes(&mut self, count: usize) -> Result<Vec<u8>> {
        let mut bytes = vec![0; count];
        within(self.0.read_exact(&mut bytes)).await?;
        Ok(bytes)
    }

    /// Receives what is left until the server closes the connection.
    pub async fn rest(&mut self) -> Result<String> {
        let mut text = String::new();
        within(self.0.read_to_string(&mut text)).await?;
        Ok(text)
    }
}

async fn within<T>(step: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::time::timeout(LIMIT, step).await.map_err(|_| Error::from(ErrorKind::TimedOut))?
}
