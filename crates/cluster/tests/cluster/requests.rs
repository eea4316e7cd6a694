//! Messages to connections of a node, and questions to connections and nodes.

use std::future::{pending, ready};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::*};
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use actix_acceptor::telemetry::CloseReason;
use actix_acceptor::{Connection, ConnectionContext};
use actix_acceptor_cluster::{DeliveryError, Question};
use futures::future::join_all;
use serde::{Deserialize, Serialize};
use support::{eventually, eventually_blocking, in_time, TIME_LIMIT};
use tokio::sync::Semaphore;

use crate::nats_server::NatsServer;
use crate::nodes::{ask, worlds, Guest, HowMany, World};

/// What the tests ask nodes: repeats a letter so often.
#[derive(Clone, Message, Serialize, Deserialize)]
#[rtype(result = "String")]
struct Repeat(usize);

impl Question for Repeat {
    const NAME: &'static str = "repeat";
}

/// What a connection panics at.
#[derive(Message, Serialize, Deserialize)]
#[rtype(result = "()")]
struct Crash;

impl Question for Crash {
    const NAME: &'static str = "crash";
}

impl Handler<Crash> for Connection<Guest> {
    type Result = ();

    fn handle(&mut self, _: Crash, _: &mut ConnectionContext<Guest>) {
        panic!("as the test wants");
    }
}

/// Holds up the thread of a connection, until the test opens it.
#[derive(Message, Serialize, Deserialize)]
#[rtype(result = "()")]
struct Hold;

static IS_HELD: AtomicBool = AtomicBool::new(false);

impl Question for Hold {
    const NAME: &'static str = "hold";
}

impl Handler<Hold> for Connection<Guest> {
    type Result = ();

    fn handle(&mut self, _: Hold, _: &mut ConnectionContext<Guest>) {
        IS_HELD.store(true, SeqCst);
        eventually_blocking(|| !IS_HELD.load(SeqCst));
    }
}

/// How many of these have been handled before.
#[derive(Message, Serialize, Deserialize)]
#[rtype(result = "usize")]
struct Count;

static COUNTED: AtomicUsize = AtomicUsize::new(0);

impl Question for Count {
    const NAME: &'static str = "count";
}

impl Handler<Count> for Connection<Guest> {
    type Result = usize;

    fn handle(&mut self, _: Count, _: &mut ConnectionContext<Guest>) -> usize {
        COUNTED.fetch_add(1, SeqCst)
    }
}

/// What panics while it is read.
#[derive(Message, Serialize)]
#[rtype(result = "()")]
struct Unreadable;

impl<'de> Deserialize<'de> for Unreadable {
    fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        panic!("as the test wants");
    }
}

impl Question for Unreadable {
    const NAME: &'static str = "unreadable";
}

fn is_refused<T>(answer: &Result<T, DeliveryError>, because: &str) -> bool {
    matches!(answer, Err(DeliveryError::Refused { why, .. }) if why.contains(because))
}

#[actix::test]
async fn a_connection_is_reached_by_its_id_on_its_node() {
    for world in worlds() {
        let (one, two) = (world.node("one").await, world.node("two").await);
        let (mut near, mut far) = (one.guest().await, two.guest().await);
        ask(&mut near, "label near", "ok").await;
        let id = one.pool.list()[0].id;
        for node in [&one, &two] {
            let connection = node.cluster.connection("one", id);
            in_time(connection.send("a reply")).await.unwrap();
            near.expect(b"a reply\n").await;
            in_time(connection.notify("hello".to_owned())).await.unwrap();
            near.expect(b"message hello\n").await;
            assert_eq!(in_time(connection.ask(HowMany("four".to_owned()))).await.unwrap(), (4, id.get()));
            let missing = in_time(node.cluster.connection("three", id).send("a reply")).await;
            assert!(matches!(missing, Err(DeliveryError::NoOwner)), "{missing:?}");
        }
        // The same id on the other node.
        ask(&mut far, "label far", "ok").await;
        assert_eq!(two.pool.list()[0].id, id);
        in_time(one.cluster.connection("two", id).send("for two")).await.unwrap();
        far.expect(b"for two\n").await;
        near.send("label near\n").await;
        near.expect(b"ok\n").await;
        drop(near);
        eventually(|| one.pool.connections() == 0).await;
        let gone = in_time(two.cluster.connection("one", id).send("late")).await;
        assert!(matches!(gone, Err(DeliveryError::NoOwner)), "{gone:?}");
        one.cluster.leave().await;
        two.cluster.leave().await;
    }
}

#[actix::test]
async fn an_id_of_an_earlier_run_of_a_node_is_never_hit() {
    for world in worlds() {
        let (one, two) = (world.node("one").await, world.node("two").await);
        let mut former = one.member("lobby").await;
        ask(&mut former, "register ann", "ok").await;
        let page = in_time(two.cluster.topic("lobby").presence(None, 10)).await.unwrap();
        let (member, owner) =
            (two.cluster.member(&page.members[0]), two.cluster.whereis("ann").await.unwrap().unwrap());
        in_time(member.send("hello")).await.unwrap();
        in_time(owner.send("ann")).await.unwrap();
        former.expect(b"hello\nann\n").await;
        in_time(one.cluster.leave()).await;
        in_time(one.pool.stop(None)).await;
        let one = world.node("one").await;
        let mut new = one.member("lobby").await;
        let id = one.pool.list()[0].id;
        assert_eq!((member.id(), owner.id()), (id, id));
        for reference in [&member, &owner] {
            let refused = in_time(reference.send("for the former one")).await;
            assert!(matches!(refused, Err(DeliveryError::NoOwner)), "{refused:?}");
        }
        in_time(two.cluster.connection("one", id).send("for the new one")).await.unwrap();
        new.expect(b"for the new one\n").await;
        one.cluster.leave().await;
        two.cluster.leave().await;
    }
}

#[actix::test]
async fn every_node_answers_with_its_own_result_or_error() {
    for world in worlds() {
        let (one, two, three) =
            (world.patient_node("one").await, world.patient_node("two").await, world.patient_node("three").await);
        one.cluster.node_answers(|Repeat(count)| async move { "a".repeat(count) });
        two.cluster.node_answers(|Repeat(count)| async move {
            assert!(count > 3, "as the test wants");
            "b".repeat(count)
        });
        for node in [&one, &two, &three] {
            let answers = in_time(node.cluster.ask_nodes(Repeat(4))).await.unwrap();
            let names: Vec<_> = answers.iter().map(|answer| &*answer.node).collect();
            assert_eq!(names, ["one", "three", "two"]);
            assert_eq!(
                (answers[0].answer.as_ref().unwrap(), answers[2].answer.as_ref().unwrap()),
                (&"aaaa".into(), &"bbbb".into())
            );
            assert!(is_refused(&answers[1].answer, "Cluster::node_answers"), "{:?}", answers[1].answer);
            assert_eq!(in_time(node.cluster.ask_node("two", Repeat(5))).await.unwrap(), "bbbbb");
            // A panic is an error of this question only.
            let panicked = in_time(node.cluster.ask_node("two", Repeat(3))).await;
            assert!(is_refused(&panicked, "panic"), "{panicked:?}");
            let missing = in_time(node.cluster.ask_node("four", Repeat(4))).await;
            assert!(matches!(missing, Err(DeliveryError::NoOwner)), "{missing:?}");
        }
        for node in [one, two, three] {
            node.cluster.leave().await;
        }
    }
}

#[actix::test]
async fn a_question_has_a_time_limit_of_its_own() {
    struct Dropped(Arc<AtomicUsize>);
    impl Drop for Dropped {
        fn drop(&mut self) {
            self.0.fetch_add(1, Relaxed);
        }
    }
    for world in worlds() {
        let (one, two) = (world.node("one").await, world.node("two").await);
        let (started, dropped) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (starts, drops) = (started.clone(), dropped.clone());
        two.cluster.node_answers(move |_: Repeat| {
            starts.fetch_add(1, Relaxed);
            let dropped = Dropped(drops.clone());
            async move {
                let _dropped = dropped;
                pending().await
            }
        });
        for node in [&one, &two] {
            let hasty = node.cluster.within(Duration::from_millis(50));
            let late = in_time(hasty.ask_node("two", Repeat(1))).await;
            assert!(matches!(late, Err(DeliveryError::Timeout)), "{late:?}");
        }
        // The node has not gone on with it.
        eventually(|| started.load(Relaxed) == 2 && dropped.load(Relaxed) == 2).await;
        one.cluster.leave().await;
        two.cluster.leave().await;
    }
}

#[actix::test]
async fn a_question_that_waits_too_long_in_a_mailbox_is_skipped() {
    for world in worlds() {
        let (one, two) = (world.node("one").await, world.node("two").await);
        two.cluster.answers::<Hold>();
        two.cluster.answers::<Count>();
        let mut peer = two.guest().await;
        ask(&mut peer, "label ready", "ok").await;
        let connection = one.cluster.connection("two", two.pool.list()[0].id).within(TIME_LIMIT);
        COUNTED.store(0, SeqCst);
        let holds = connection.clone();
        let held = actix::spawn(async move { holds.ask(Hold).await });
        eventually(|| IS_HELD.load(SeqCst)).await;
        assert_eq!(two.cluster.info().pending_requests, 1);
        let late = in_time(connection.clone().within(Duration::from_millis(300)).ask(Count)).await;
        assert!(matches!(late, Err(DeliveryError::Timeout)), "{late:?}");
        // The node has given it up as well. `Hold` is still there.
        eventually(|| two.cluster.info().pending_requests == 1).await;
        IS_HELD.store(false, SeqCst);
        in_time(held).await.unwrap().unwrap();
        assert_eq!(in_time(connection.ask(Count)).await.unwrap(), 0);
        one.cluster.leave().await;
        two.cluster.leave().await;
    }
}

#[actix::test]
async fn panics_of_user_code_are_refusals() {
    for world in worlds() {
        let (one, two) = (world.patient_node("one").await, world.patient_node("two").await);
        one.cluster.answers::<Crash>();
        one.cluster.node_answers(|_: Unreadable| ready(()));
        for node in [&one, &two] {
            let mut peer = one.named("ann").await;
            let crashed = in_time(node.cluster.ask("ann", Crash)).await;
            assert!(is_refused(&crashed, "panicked"), "{crashed:?}");
            peer.until_gone().await;
            let unreadable = in_time(node.cluster.ask_node("one", Unreadable)).await;
            assert!(is_refused(&unreadable, "panic"), "{unreadable:?}");
            // The node goes on.
            let mut peer = one.guest().await;
            ask(&mut peer, "label next", "ok").await;
            let id = one.pool.list().last().unwrap().id;
            in_time(node.cluster.connection("one", id).send("next")).await.unwrap();
            peer.expect(b"next\n").await;
        }
        assert_eq!(one.pool.info().closed.get(CloseReason::Panic), 2);
        one.cluster.leave().await;
        two.cluster.leave().await;
    }
}

#[actix::test]
async fn a_node_answers_a_limited_number_of_questions_at_a_time() {
    for world in worlds() {
        let (one, two) = (world.node("one").await, world.node("two").await);
        let (started, open) = (Arc::new(AtomicUsize::new(0)), Arc::new(Semaphore::new(0)));
        let (starts, opened) = (started.clone(), open.clone());
        two.cluster.node_answers(move |Repeat(count)| {
            starts.fetch_add(1, Relaxed);
            let opened = opened.clone();
            async move {
                let _permit = opened.acquire().await;
                "a".repeat(count)
            }
        });
        let patient = one.cluster.within(Duration::from_secs(60));
        let questions = actix::spawn(async move {
            let answers = (0..1_024).map(|_| patient.ask_node("two", Repeat(1)));
            join_all(answers).await.into_iter().filter(|answer| answer.is_ok()).count()
        });
        eventually(|| started.load(Relaxed) == 1_024).await;
        let busy = in_time(one.cluster.ask_node("two", Repeat(2))).await;
        assert!(matches!(&busy, Err(DeliveryError::Busy { node }) if node == "two"), "{busy:?}");
        // Replies are no questions.
        let mut peer = two.named("ann").await;
        in_time(one.cluster.send("ann", "hello")).await.unwrap();
        peer.expect(b"hello\n").await;
        open.add_permits(1);
        assert_eq!(in_time(questions).await.unwrap(), 1_024);
        assert_eq!(in_time(one.cluster.ask_node("two", Repeat(2))).await.unwrap(), "aa");
        one.cluster.leave().await;
        two.cluster.leave().await;
    }
}

#[actix::test]
async fn an_answer_that_is_too_large_is_an_error_with_both_numbers() {
    let world = World::Nats(NatsServer::start());
    let (one, two) = (world.node("one").await, world.node("two").await);
    two.cluster.node_answers(|Repeat(count)| ready("a".repeat(count)));
    match in_time(one.cluster.ask_node("two", Repeat(1 << 20))).await {
        Err(DeliveryError::TooLarge { size, limit }) => assert!(size > 1 << 20 && limit == 1 << 20, "{size} {limit}"),
        other => panic!("{:?}", other.map(|answer| answer.len())),
    }
    assert_eq!(in_time(one.cluster.ask_node("two", Repeat(1_000_000))).await.unwrap().len(), 1_000_000);
    // There is no limit within a node.
    assert_eq!(in_time(two.cluster.ask_node("two", Repeat(1 << 20))).await.unwrap().len(), 1 << 20);
}
