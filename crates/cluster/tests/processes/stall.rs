//! Nodes that do not run for a while.

use std::time::Duration;

use nix::sys::signal::Signal;
use support::eventually;

use crate::checks::Checks;
use crate::nats_server::NatsServer;
use crate::process::{Process, TTL};

#[actix::test]
async fn a_node_that_was_stopped_for_longer_than_the_ttl_owns_nothing() {
    let server = NatsServer::start();
    let checks = std::sync::Arc::new(Checks::default());
    let start = async |name| Process::try_start(name, &server.url, 1, &checks).await.unwrap();
    let (one, two) = (start("one").await, start("two").await);
    let (mut former, mut bob, mut anonymous) = (one.named("ann").await, one.named("bob").await, one.client().await);
    eventually(|| checks.has_reports_of("one")).await;
    let (mut new, mut asks) = (two.client().await, two.client().await);
    one.signal(Signal::SIGSTOP);
    new.until("register ann", "ok").await;
    // These wait in the socket of the stopped process.
    former.send("owns ann").await.unwrap();
    asks.until("whereis bob", "none").await;
    for _ in 0..100 {
        assert_eq!(asks.ask("send ann hello").await.unwrap(), "ok");
    }
    one.signal(Signal::SIGCONT);
    former.until_closed().await;
    assert!(former.messages.is_empty(), "{:?}", former.messages);
    // A name that no other connection has taken is registered again, with a new lease.
    asks.until("send bob hello", "ok").await;
    assert_eq!(bob.next().await.unwrap(), "hello");
    anonymous.until("register cat", "ok").await;
    asks.until("whereis cat", &format!("one {}", anonymous.ask("id").await.unwrap())).await;
    assert_eq!(
        asks.ask("whereis ann").await.unwrap(),
        format!("two {}", {
            let _ = new.ask("id").await;
            new.ask("id").await.unwrap()
        })
    );
    eventually(|| checks.has_reports_of("two")).await;
    drop((one, two));
    checks.check_owners();
}

#[actix::test]
async fn a_node_that_was_stopped_for_a_moment_keeps_its_names() {
    let server = NatsServer::start();
    let (one, two) = (Process::start("one", &server.url).await, Process::start("two", &server.url).await);
    let (mut ann, mut asks) = (one.named("ann").await, two.client().await);
    let owner = asks.ask("whereis ann").await.unwrap();
    one.signal(Signal::SIGSTOP);
    tokio::time::sleep(TTL / 4).await;
    one.signal(Signal::SIGCONT);
    for _ in 0..20 {
        assert_eq!(asks.ask("whereis ann").await.unwrap(), owner);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(ann.ask("owns ann").await.unwrap(), "true");
    assert_eq!(asks.ask("send ann hello").await.unwrap(), "ok");
    assert_eq!(ann.next().await.unwrap(), "hello");
}

#[actix::test]
async fn a_stopped_owner_is_replaced_when_its_lease_has_run_out() {
    let server = NatsServer::start();
    let checks = std::sync::Arc::new(Checks::default());
    let start = async |name| Process::try_start(name, &server.url, 1, &checks).await.unwrap();
    let (one, two) = (start("one").await, start("two").await);
    let (mut former, mut new) = (one.named("ann").await, two.client().await);
    eventually(|| checks.has_reports_of("one")).await;
    one.signal(Signal::SIGSTOP);
    assert_eq!(new.ask("replace ann").await.unwrap(), "ok");
    assert_eq!(new.ask("owns ann").await.unwrap(), "true");
    one.signal(Signal::SIGCONT);
    former.until_closed().await;
    assert_eq!(new.ask("owns ann").await.unwrap(), "true");
    eventually(|| checks.has_reports_of("two")).await;
    drop((one, two));
    checks.check_owners();
}
