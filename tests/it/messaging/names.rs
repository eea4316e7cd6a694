//! Names of connections: unique, released however the connection ends.

use std::collections::HashSet;

use actix_acceptor::telemetry::CloseReason;
use support::*;

use super::*;

#[actix::test]
async fn a_name_has_one_owner() {
    let pool = start().await;
    let (mut ann, mut other) = (connect(&pool).await, connect(&pool).await);
    assert_eq!(ask(&mut ann, "register ann").await, "true");
    assert_eq!(ask(&mut ann, "register ann").await, "true");
    assert_eq!(ask(&mut ann, "register anna").await, "true");
    assert_eq!(ask(&mut other, "register ann").await, "false");
    assert_eq!(ask(&mut other, "tell ann hello").await, "true");
    assert_eq!(line(&mut ann).await, "hello");
    assert_eq!(pool.names(), ["ann".into(), "anna".into()]);
    assert_eq!(ask(&mut other, "unregister ann").await, "false");
    assert_eq!(ask(&mut ann, "unregister ann").await, "true");
    assert_eq!(ask(&mut other, "register ann").await, "true");
    let id = pool.whereis("ann").unwrap().id();
    assert_eq!(ask(&mut other, "id").await, id.to_string());
}

#[actix::test]
async fn a_name_is_free_after_every_end_of_its_owner() {
    let pool = start().await;
    for end in ["quit", "panic", "leave the connection", "kill"] {
        let mut owner = connect(&pool).await;
        assert_eq!(ask(&mut owner, "register ann").await, "true", "{end}");
        match end {
            "leave the connection" => drop(owner),
            "kill" => assert!(pool.whereis("ann").unwrap().kill()),
            verb => owner.send(format!("{verb}\n")).await,
        }
        eventually(|| pool.whereis("ann").is_none()).await;
        assert!(pool.names().is_empty());
    }
}

#[actix::test]
async fn taking_a_name_over_ends_its_owner() {
    let pool = start().await;
    for waits in [false, true] {
        let (mut former, mut next) = (connect(&pool).await, connect(&pool).await);
        assert_eq!(ask(&mut former, "register ann").await, "true");
        if waits {
            former.send("wait\n").await;
        }
        assert_eq!(ask(&mut next, "take ann").await, "taken");
        assert_eq!(former.until_gone().await, b"");
        assert_eq!(ask(&mut next, "take ann").await, "taken");
        assert_eq!(ask(&mut next, "id").await, pool.whereis("ann").unwrap().id().to_string());
        drop(next);
        eventually(|| pool.connections() == 0).await;
    }
    assert_eq!(pool.info().closed.get(CloseReason::Replaced), 2);
}

#[actix::test]
async fn a_connection_that_is_asked_to_close_has_no_names() {
    let pool = start_with(|builder| builder.on_current_arbiter()).await;
    let (mut former, mut next) = (connect(&pool).await, connect(&pool).await);
    for name in ["ann", "bob"] {
        assert_eq!(ask(&mut former, &format!("register {name}")).await, "true");
    }
    // Nothing else runs on this arbiter until the next `await`.
    assert!(pool.whereis("ann").unwrap().close(Some("elsewhere".into()), ms(5_000)));
    assert!(pool.whereis("ann").is_none() && pool.names().is_empty());
    assert_eq!(ask(&mut next, "register ann").await, "true");
    assert_eq!(ask(&mut next, "take bob").await, "taken");
    assert_eq!(former.until_gone().await, b"elsewhere\n");
    assert_eq!(pool.names(), ["ann".into(), "bob".into()]);
    eventually(|| pool.info().closed.get(CloseReason::Local) == 1).await;
}

#[actix::test]
async fn the_former_owner_of_a_name_loses_its_unsent_bytes() {
    let (builder, mut callbacks) = Probe::pool(|call, conn| match call {
        Call::Ack => {
            conn.register_replacing("ann");
            conn.push(vec![b'x'; 50_000_000]);
            Next::Continue
        }
        call => protocol_default(call),
    });
    let pool = builder.framing(Framing::raw()).bind("127.0.0.1:0").await.unwrap();
    let mut former = connect(&pool).await;
    eventually(|| pool.whereis("ann").is_some()).await;
    let id = pool.whereis("ann").unwrap().id();
    let _next = connect(&pool).await;
    assert_eq!(
        callbacks.closed().await,
        (CloseReason::Replaced, "replaced: another connection took over its name".into())
    );
    assert_ne!(pool.whereis("ann").unwrap().id(), id);
    assert!(former.until_gone().await.len() < 50_000_000);
}

#[actix::test]
async fn of_many_that_race_for_a_name_one_has_it() {
    let pool = start().await;
    let mut peers = Vec::new();
    for _ in 0..20 {
        peers.push(connect(&pool).await);
    }
    for round in 0..20 {
        for peer in &mut peers {
            peer.send(format!("register name{round}\n")).await;
        }
        let mut owners = 0;
        for peer in &mut peers {
            owners += usize::from(line(peer).await == "true");
        }
        assert_eq!(owners, 1);
    }
    assert_eq!(pool.names().len(), 20);
    let owners: HashSet<_> = pool.names().iter().map(|name| pool.whereis(name).unwrap().id()).collect();
    assert!(owners.iter().all(|id| pool.connection(*id).is_some()));
}
