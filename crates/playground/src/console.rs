//! The operator's console: a separate pool. Each line is a command and gets one line as its answer.

use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use actix_acceptor::{
    Acceptor, AcceptorPool, Conn, Connection, Framing, Next, Pool, Protocol, StartError, SuspendMode,
};
use bytes::Bytes;

use crate::server::Server;

/// Starts the console. It runs on the caller's arbiter, so busy acceptor arbiters do not delay it.
pub async fn open(address: &str, server: Arc<Server>) -> Result<Pool<Connection<Console>>, StartError> {
    AcceptorPool::with_protocol(move |_| Console { server: server.clone() })
        .framing(Framing::lines())
        .on_current_arbiter()
        .idle_timeout(None)
        .packet_timeout(None)
        .half_close(true)
        .bind(address)
        .await
}

pub struct Console {
    server: Arc<Server>,
}

impl Protocol for Console {
    type Codec = Framing;
    type Reply = Bytes;
    type User = ();

    fn packet(&mut self, line: Bytes, conn: &mut Conn<Self>) -> Next<Self> {
        let server = self.server.clone();
        let answer = async move {
            let line = String::from_utf8_lossy(&line);
            // An answer is one line.
            let answer = server.execute(&line).await.unwrap_or_else(|error| format!("error: {error}"));
            answer.replace('\n', " ")
        };
        conn.wait(answer, |answer, _, _| Next::send(answer))
    }

    /// Half-close is on: a piped command still gets its answer.
    fn half_closed(&mut self, _: &mut Conn<Self>) -> Next<Self> {
        Next::Stop
    }
}

type Answer = Result<String, String>;

const GONE: &str = "gone";
const OK: &str = "ok";

impl Server {
    async fn execute(&self, line: &str) -> Answer {
        let (command, rest) = line.split_once(' ').unwrap_or((line, ""));
        match command {
            "info" => Ok(self.info().to_string()),
            "list" => Ok(self.list().to_string()),
            "send" => {
                let (id, text) = rest.split_once(' ').ok_or("usage: send ID TEXT")?;
                let packet = self.packet(text)?;
                Ok(or_gone(self.access.send(number(id)?, packet)))
            }
            "ask" => {
                let count = self.access.ask(number(rest)?).await;
                Ok(count.map_or(GONE.into(), |count| count.to_string()))
            }
            "broadcast" => Ok(format!("ok {}", self.access.broadcast(self.packet(rest)?))),
            "publish" => {
                let (topic, text) = rest.split_once(' ').ok_or("usage: publish TOPIC TEXT")?;
                Ok(format!("ok {}", self.access.publish(topic, self.packet(text)?)))
            }
            "topics" => Ok(self.topics().to_string()),
            "names" => Ok(self.names().to_string()),
            "flood" => {
                let (id, messages) = rest.split_once(' ').ok_or("usage: flood ID N")?;
                let flood = self.access.flood(number(id)?, number(messages)?);
                Ok(or_gone(flood.map(tokio::task::spawn_blocking).is_some()))
            }
            "kill" => Ok(or_gone(self.pool.kill(number(rest)?))),
            "close" => {
                let mut words = rest.splitn(3, ' ');
                let (Some(id), Some(millis)) = (words.next().filter(|id| !id.is_empty()), words.next()) else {
                    return Err("usage: close ID MS [TEXT]".into());
                };
                let last = words.next().map(|text| self.packet(text)).transpose()?;
                Ok(or_gone(self.access.close(number(id)?, last, Duration::from_millis(number(millis)?))))
            }
            "crash" => {
                let id = rest.strip_prefix("acceptor ").ok_or("usage: crash acceptor N")?;
                self.crash(number::<u64>(id)? as usize).await
            }
            "set" => {
                let (option, value) = rest.split_once(' ').unwrap_or((rest, ""));
                self.set(option, value).await.map(|()| OK.into())
            }
            "drain" => Ok(self.drain(Duration::from_millis(number(rest)?)).await.to_string()),
            "suspend" => {
                let how = match rest {
                    "" | "refuse" => SuspendMode::Close,
                    "hold" => SuspendMode::Hold,
                    _ => return Err("usage: suspend [refuse|hold]".into()),
                };
                self.pool.suspend(how).await.map(|()| OK.into()).map_err(|error| error.to_string())
            }
            "resume" => self.pool.resume().await.map(|()| OK.into()).map_err(|error| error.to_string()),
            "max" => self.set("max-connections", rest).await.map(|()| OK.into()),
            "exempt" => Ok(or_gone(self.pool.exempt(number(rest)?))),
            "reload-tls" => {
                // Reads files and tests the new pair, which blocks.
                let security = self.config.security.clone();
                let reloaded = tokio::task::spawn_blocking(move || security.reload()).await;
                reloaded.map_err(|error| error.to_string())?.map(|()| OK.into())
            }
            _ => Err("unknown command".into()),
        }
    }

    fn packet(&self, text: &str) -> Result<Bytes, String> {
        self.config.options.check_packet(text)?;
        Ok(Bytes::copy_from_slice(text.as_bytes()))
    }

    /// Retries while the acceptor is being restarted.
    async fn crash(&self, id: usize) -> Answer {
        if id >= self.pool.info().acceptors.len() {
            return Err(format!("there is no acceptor {id}"));
        }
        for _ in 0..100 {
            for acceptor in self.pool.acceptors() {
                if acceptor.send(AcceptorId).await.is_ok_and(|its_id| its_id == id) {
                    // The acceptor panics, so the answer is always an error.
                    let _ = acceptor.send(Crash).await;
                    return Ok(OK.into());
                }
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Err(format!("acceptor {id} is not running"))
    }
}

fn or_gone(exists: bool) -> String {
    if exists { OK } else { GONE }.into()
}

fn number<T: From<u64>>(text: &str) -> Result<T, String> {
    text.trim().parse::<u64>().map(T::from).map_err(|_| format!("{text:?} is not a number"))
}

/// Asks an acceptor for its id in the pool.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "usize")]
struct AcceptorId;

impl Handler<AcceptorId> for Acceptor {
    type Result = usize;

    fn handle(&mut self, _: AcceptorId, _: &mut Context<Self>) -> usize {
        self.id()
    }
}

/// Makes an acceptor panic.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
struct Crash;

impl Handler<Crash> for Acceptor {
    type Result = ();

    fn handle(&mut self, _: Crash, _: &mut Context<Self>) {
        panic!("requested on the console");
    }
}
