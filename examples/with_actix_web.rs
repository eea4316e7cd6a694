//! A chat over TCP and an HTTP API in one process and one actix system: the API lists the guests, sends a line to all of them, and
//! disconnects one. One shutdown ends both, and SIGHUP reloads the configuration of the pool. Try it:
//!
//! ```text
//! cargo run -p actix-acceptor-examples --example with_actix_web
//! nc 127.0.0.1 7878                                   in two other terminals: type your name, then lines
//! curl http://127.0.0.1:7879/guests
//! curl -d 'dinner is ready' http://127.0.0.1:7879/say
//! curl -X DELETE http://127.0.0.1:7879/guests/ann
//! kill -TERM PID                                      drains; once more: ends at once
//! ```
//!
//! Two optional arguments replace the addresses; a third one is a configuration file, which SIGHUP reads again:
//!
//! ```toml
//! settings = { max_connections = 100, max_per_peer = 10 }
//! drain = { grace = "10s", delay = "2s" }
//! ```

use actix_acceptor::info::Reloaded;
use actix_acceptor::{prelude::*, PoolConfig, Shutdown};
use actix_web::{web, App, HttpResponse, HttpServer, Responder};
use bytes::Bytes;
use std::time::Duration;

/// One connection of the chat.
struct Guest {
    /// `None` until the guest has sent it.
    name: Option<String>,
}

impl Protocol for Guest {
    type Codec = Framing;
    type Reply = Bytes;
    type User = ();

    fn ack(&mut self, _: &mut Conn<Self>) -> Next<Self> {
        Next::send("your name?")
    }

    fn packet(&mut self, line: Bytes, conn: &mut Conn<Self>) -> Next<Self> {
        let line = String::from_utf8_lossy(&line);
        let lobby = conn.pool().topic("lobby");
        let Some(name) = &self.name else {
            if !is_name(&line) || conn.register(&line).is_err() {
                return Next::send("that name is taken, or not a word; another one?");
            }
            conn.join(&lobby);
            self.name = Some(line.to_string());
            return Next::send(format!("welcome, {line}"));
        };
        lobby.publish_except(conn.id(), format!("{name}: {line}"));
        Next::Continue
    }

    /// The server shuts down.
    fn shutdown(&mut self, _: Option<tokio::time::Instant>, _: &mut Conn<Self>) -> Next<Self> {
        Next::send_and_stop("goodbye")
    }
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.len() <= 32 && text.chars().all(char::is_alphanumeric)
}

type Chat = web::Data<Pool<Connection<Guest>>>;

/// Lists the guests.
async fn guests(chat: Chat) -> impl Responder {
    web::Json(chat.names())
}

/// Says something to all guests, and returns how many there are.
async fn say(chat: Chat, text: String) -> impl Responder {
    let published = chat.topic("lobby").publish(format!("server: {}", text.replace('\n', " ")));
    web::Json(published.members)
}

/// Ends the connection of a guest, with a last line.
async fn kick(chat: Chat, name: web::Path<String>) -> impl Responder {
    match chat.whereis(name.as_str()) {
        Some(guest) => {
            guest.close(Some(Bytes::from("you have been kicked")), Duration::from_secs(1));
            HttpResponse::NoContent()
        }
        None => HttpResponse::NotFound(),
    }
    .finish()
}

/// For a load balancer: whether new guests are admitted. During a drain, the web server still answers.
async fn ready(chat: Chat) -> impl Responder {
    if chat.is_ready() { HttpResponse::Ok() } else { HttpResponse::ServiceUnavailable() }.finish()
}

#[actix_web::main]
async fn main() -> Result<(), MainError> {
    let mut arguments = std::env::args().skip(1);
    let chat_address = arguments.next().unwrap_or("127.0.0.1:7878".to_owned());
    let http_address = arguments.next().unwrap_or("127.0.0.1:7879".to_owned());
    let file = arguments.next();
    let config = file.as_ref().map_or_else(|| Ok(PoolConfig::default()), PoolConfig::load)?;
    // Bound before the chat starts: if it fails, nothing has to be stopped.
    let http =
        std::net::TcpListener::bind(&http_address).map_err(|error| format!("HTTP on {http_address}: {error}"))?;

    let pool = AcceptorPool::with_protocol(|_| Guest { name: None })
        .framing(Framing::lines().with_max_frame(4096))
        .idle_timeout(None)
        .config(&config)
        .name("chat")
        .listener(Listener::tcp(chat_address))
        .start()
        .await?;

    let chat: Chat = web::Data::new(pool.clone());
    let app = move || {
        App::new()
            .app_data(chat.clone())
            .route("/guests", web::get().to(guests))
            .route("/guests/{name}", web::delete().to(kick))
            .route("/say", web::post().to(say))
            .route("/ready", web::get().to(ready))
    };
    // Without `disable_signals`, actix-web would end the actix system at the first signal, and cut off the chat.
    let server = HttpServer::new(app).disable_signals().listen(http)?;
    let http = server.addrs()[0];
    let server = server.run();
    let web = server.handle();
    actix_web::rt::spawn(server);

    // From here on, SIGHUP does not end the process.
    #[cfg(unix)]
    actix_web::rt::spawn({
        let mut hangup = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup())?;
        let pool = pool.clone();
        async move {
            while hangup.recv().await.is_some() {
                match reload(&pool, file.as_deref()).await {
                    Ok(reloaded) => println!("reloaded: {reloaded}"),
                    Err(error) => println!("not reloaded: {error:?}"),
                }
            }
        }
    });
    // From here on, SIGTERM and SIGINT do not end it either.
    let shutdown = Shutdown::on_signals();
    println!("chat on {}, HTTP on {http}, PID {}", pool.local_addrs()[0], std::process::id());

    // The first SIGTERM or SIGINT: the chat drains while the web server still answers, then the web server ends its requests.
    // The second one ends both at once.
    let report = shutdown.drain(&pool, Drain::configured()).then(move || web.stop(true)).await?;
    println!("{} guests, {} cut off", report.pools[0].asked, report.pools[0].forced);
    Ok(pool.stopped().await?)
}

#[cfg(unix)]
async fn reload<A>(pool: &Pool<A>, file: Option<&str>) -> Result<Reloaded, MainError> {
    let file = file.ok_or("started without a configuration file")?;
    Ok(pool.reload(&PoolConfig::load(file)?).await?)
}
