//! A chat and its dashboard.
//!
//! `cargo run -p actix-acceptor-dashboard --example chat`, then `nc 127.0.0.1 7878` in two terminals, and
//! <http://127.0.0.1:8080/dashboard/> in a browser. Arguments replace the two addresses. With the environment variable
//! `DASHBOARD_TOKEN`, of at least 16 characters, the dashboard asks for it, and may listen on any address.

use std::time::Duration;

use actix_acceptor::prelude::*;
use actix_acceptor_dashboard::{Dashboard, DashboardPool};
use actix_web::{App, HttpServer};
use bytes::Bytes;

/// The state of one connection.
struct Guest {
    name: String,
    room: Option<Topic<Guest>>,
}

impl Protocol for Guest {
    type Codec = Framing;
    type Reply = Bytes;
    type User = ();

    fn ack(&mut self, conn: &mut Conn<Self>) -> Next<Self> {
        self.name = format!("guest-{}", conn.id());
        conn.register_replacing(&self.name);
        self.enter("lobby", conn);
        Next::send(format!("you are {}; /nick NAME, /join ROOM", self.name))
    }

    fn packet(&mut self, line: Bytes, conn: &mut Conn<Self>) -> Next<Self> {
        let line = String::from_utf8_lossy(&line);
        match line.split_once(' ') {
            Some(("/nick", name)) => {
                if let Err(NameTaken) = conn.register(name) {
                    return Next::send("that name is taken");
                }
                conn.unregister(&self.name);
                // What the dashboard shows beside the address.
                conn.set_label(name);
                self.name = name.to_owned();
                Next::send(format!("you are {name}"))
            }
            Some(("/join", room)) => {
                self.enter(room, conn);
                Next::send(format!("you are in {room}"))
            }
            _ => {
                let line = format!("{}: {line}", self.name);
                match self.room.as_ref().and_then(|room| room.publish_except(conn.id(), line).error) {
                    Some(error) => Next::fail(error),
                    None => Next::Continue,
                }
            }
        }
    }

    fn shutdown(&mut self, _: Option<tokio::time::Instant>, _: &mut Conn<Self>) -> Next<Self> {
        Next::send("the chat ends soon")
    }
}

impl Guest {
    /// Leaves the current room, if any, and joins another.
    fn enter(&mut self, room: &str, conn: &mut Conn<Self>) {
        if let Some(room) = self.room.take() {
            conn.leave(&room);
        }
        let room = self.room.insert(conn.pool().topic(room));
        conn.join(room);
    }
}

#[actix::main]
async fn main() -> Result<(), MainError> {
    let mut arguments = std::env::args().skip(1);
    let chat_address = arguments.next().unwrap_or("127.0.0.1:7878".to_owned());
    let web_address = arguments.next().unwrap_or("127.0.0.1:8080".to_owned());

    let pool = AcceptorPool::with_protocol(|_| Guest { name: String::new(), room: None })
        .framing(Framing::lines().with_max_frame(4096))
        .idle_timeout(Duration::from_secs(60 * 60))
        .name("chat")
        .bind(chat_address)
        .await?;

    // A text from the dashboard is a line for the guests.
    let mut dashboard = Dashboard::new(DashboardPool::with_text(&pool, Bytes::from));
    if let Ok(token) = std::env::var("DASHBOARD_TOKEN") {
        dashboard = dashboard.token(token);
    }
    let app = {
        let dashboard = dashboard.clone();
        move || App::new().service(dashboard.clone())
    };
    let server = HttpServer::new(app).workers(1).shutdown_timeout(1).disable_signals().bind(web_address)?;
    let address = server.addrs()[0];
    let server = server.run();
    let web = server.handle();
    actix_web::rt::spawn(server);
    println!("chat on {}, dashboard on http://{address}/dashboard/", pool.local_addrs()[0]);

    // The chat may end before: by a drain of the dashboard, which still shows the report.
    actix_web::rt::signal::ctrl_c().await?;
    pool.stop(Duration::from_secs(2)).await;
    dashboard.disconnect();
    web.stop(true).await;
    Ok(())
}
