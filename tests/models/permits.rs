//! The permits, a hard limit on connections.

#[allow(dead_code, reason = "the crate asks for more than the model does")]
#[path = "../../src/limits/permits.rs"]
#[allow(clippy::module_inception)]
mod permits;

/// What the permits are made of here: the model checker's own.
mod sync {
    pub(super) use loom::sync::{Mutex, MutexGuard};
}

use std::future::poll_fn;
use std::task::{Context, Poll};

use loom::future::block_on;
use loom::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use loom::sync::Arc;
use loom::thread::{self, JoinHandle};

use super::model;
use permits::{GroupId, Permits};

/// The permits, and how many of them are in use as their holders count.
struct Model {
    permits: Permits,
    /// A group without a limit of its own.
    all: GroupId,
    inside: AtomicUsize,
}

impl Model {
    fn new(max: usize) -> Arc<Self> {
        let permits = Permits::new(max);
        let all = permits.add_group(usize::MAX);
        Arc::new(Model { permits, all, inside: AtomicUsize::new(0) })
    }

    /// All who may be there are inside.
    fn full(max: usize) -> Arc<Self> {
        let model = Model::new(max);
        (0..max).for_each(|_| assert!(model.permits.try_take(model.all)));
        (0..max).for_each(|_| model.enter(max));
        model
    }

    /// As an acceptor takes its permit.
    async fn take(&self) {
        while !self.permits.try_take(self.all) {
            poll_fn(|cx| self.permits.poll_free(self.all, cx)).await;
        }
    }

    /// As a held peer takes it.
    async fn take_in_line(&self) {
        let ticket = self.permits.join(self.all, 0);
        poll_fn(|cx| self.permits.poll_take(&ticket, cx)).await;
        self.permits.leave(&ticket);
    }

    fn enter(&self, most: usize) {
        let inside = self.inside.fetch_add(1, SeqCst) + 1;
        assert!(inside <= most, "{inside} are inside, {most} may be");
    }

    fn exit(&self) {
        self.inside.fetch_sub(1, SeqCst);
        self.permits.give_back(self.all);
    }

    /// No permit is taken, and the queue is empty.
    fn assert_unused(&self, max: usize) {
        assert_eq!(self.permits.max(), max);
        assert!((0..max).all(|_| self.permits.try_take(self.all)));
        assert!(!self.permits.try_take(self.all));
    }
}

/// Takes a permit as an acceptor does and returns it, on its own thread.
fn acceptor(model: &Arc<Model>, most: usize) -> JoinHandle<()> {
    let model = model.clone();
    thread::spawn(move || {
        block_on(model.take());
        model.enter(most);
        model.exit();
    })
}

/// Goes, on a thread of its own.
fn leaving_thread(model: &Arc<Model>) -> JoinHandle<()> {
    let model = model.clone();
    thread::spawn(move || model.exit())
}

#[test]
fn two_acceptors_share_a_permit_without_starvation() {
    model(4, || {
        let model = Model::new(1);
        let other = acceptor(&model, 1);
        block_on(model.take());
        model.enter(1);
        model.exit();
        other.join().unwrap();
        model.assert_unused(1);
    });
}

#[test]
fn two_acceptors_wait_for_the_holder_of_the_permit() {
    model(3, || {
        let model = Model::full(1);
        let takers = [acceptor(&model, 1), acceptor(&model, 1)];
        model.exit();
        takers.into_iter().for_each(|taker| taker.join().unwrap());
        model.assert_unused(1);
    });
}

#[test]
fn a_raised_limit_admits_exactly_the_difference() {
    model(2, || {
        let model = Model::full(1);
        let takers = [acceptor(&model, 2), acceptor(&model, 2)];
        // The first permit stays taken: without the second none would be admitted.
        model.permits.set_max(2);
        takers.into_iter().for_each(|taker| taker.join().unwrap());
        model.exit();
        model.assert_unused(2);
    });
}

#[test]
fn a_lowered_limit_admits_none_until_below_it() {
    model(3, || {
        let model = Model::full(2);
        model.permits.set_max(1);
        let taker = acceptor(&model, 1);
        model.exit();
        model.exit();
        taker.join().unwrap();
        model.assert_unused(1);
    });
}

#[test]
fn queued_peers_precede_acceptors_without_starvation() {
    model(2, || {
        let model = Model::full(1);
        let ticket = model.permits.join(model.all, 0);
        let order = Arc::new(AtomicUsize::new(0));
        let (acceptor, turn) = (model.clone(), order.clone());
        let acceptor = thread::spawn(move || {
            block_on(acceptor.take());
            assert_eq!(turn.fetch_add(1, SeqCst), 1, "it was the line's turn");
            acceptor.enter(1);
            acceptor.exit();
        });
        let giver = leaving_thread(&model);
        block_on(poll_fn(|cx| model.permits.poll_take(&ticket, cx)));
        assert_eq!(order.fetch_add(1, SeqCst), 0);
        model.permits.leave(&ticket);
        model.enter(1);
        model.exit();
        acceptor.join().unwrap();
        giver.join().unwrap();
        model.assert_unused(1);
    });
}

#[test]
fn queued_peers_keep_their_order() {
    model(2, || {
        let model = Model::full(1);
        let (first, second) = (model.permits.join(model.all, 0), model.permits.join(model.all, 0));
        let order = Arc::new(AtomicUsize::new(0));
        let (others, turn) = (model.clone(), order.clone());
        let other = thread::spawn(move || {
            block_on(poll_fn(|cx| others.permits.poll_take(&second, cx)));
            assert_eq!(turn.fetch_add(1, SeqCst), 1, "it was the other's turn");
            others.permits.leave(&second);
            others.enter(1);
            others.exit();
        });
        let giver = leaving_thread(&model);
        block_on(poll_fn(|cx| model.permits.poll_take(&first, cx)));
        assert_eq!(order.fetch_add(1, SeqCst), 0);
        model.permits.leave(&first);
        model.enter(1);
        model.exit();
        other.join().unwrap();
        giver.join().unwrap();
        model.assert_unused(1);
    });
}

#[test]
fn leaving_the_queue_lets_the_next_one_go_on() {
    model(2, || {
        let model = Model::new(1);
        assert!(model.permits.try_take(model.all));
        let impatient = model.permits.join(model.all, 0);
        let waker = futures::task::noop_waker();
        assert!(model.permits.poll_take(&impatient, &Context::from_waker(&waker)).is_pending());
        let (giver, next) = (model.clone(), model.clone());
        let next = thread::spawn(move || block_on(next.take_in_line()));
        let giver = thread::spawn(move || giver.permits.give_back(giver.all));
        model.permits.leave(&impatient);
        next.join().unwrap();
        giver.join().unwrap();
        model.permits.give_back(model.all);
        model.assert_unused(1);
    });
}

#[test]
fn acceptors_go_on_once_the_queue_is_abandoned() {
    model(4, || {
        let model = Model::new(1);
        let impatient = model.permits.join(model.all, 0);
        let acceptor = acceptor(&model, 1);
        model.permits.leave(&impatient);
        acceptor.join().unwrap();
        model.assert_unused(1);
    });
}

/// As a held peer of this thread takes a permit, which passes over those that do not react.
async fn take_or_pass_over(model: &Model, group: GroupId, thread: usize) {
    let ticket = model.permits.join(group, thread);
    poll_fn(|cx| loop {
        if model.permits.poll_take(&ticket, cx).is_ready() {
            return Poll::Ready(());
        }
        match model.permits.turn(Some(thread)) {
            Some(turn) => model.permits.pass_over(turn),
            None => return Poll::Pending,
        }
    })
    .await;
    model.permits.leave(&ticket);
}

#[test]
fn a_blocked_thread_holds_up_no_other() {
    model(3, || {
        let model = Model::full(1);
        let blocked = model.permits.join(model.all, 0);
        let waker = futures::task::noop_waker();
        assert!(model.permits.poll_take(&blocked, &Context::from_waker(&waker)).is_pending());
        let other = model.clone();
        let other = thread::spawn(move || {
            block_on(take_or_pass_over(&other, other.all, 1));
            other.enter(1);
            other.exit();
        });
        model.exit();
        other.join().unwrap();
        // A newcomer does not wait for the blocked thread either, and that one goes on where it was.
        assert!(model.permits.try_take(model.all));
        model.permits.give_back(model.all);
        assert!(model.permits.poll_take(&blocked, &Context::from_waker(&waker)).is_ready());
        model.permits.give_back(model.all);
        model.permits.leave(&blocked);
        model.assert_unused(1);
    });
}

#[test]
fn a_thread_that_was_passed_over_goes_on() {
    model(2, || {
        let model = Model::full(1);
        let slow = model.clone();
        let slow = thread::spawn(move || {
            block_on(take_or_pass_over(&slow, slow.all, 0));
            slow.enter(1);
            slow.exit();
        });
        let other = model.clone();
        let other = thread::spawn(move || {
            block_on(take_or_pass_over(&other, other.all, 1));
            other.enter(1);
            other.exit();
        });
        model.exit();
        slow.join().unwrap();
        other.join().unwrap();
        model.assert_unused(1);
    });
}

#[test]
fn a_full_group_holds_up_no_other() {
    model(2, || {
        let model = Model::full(2);
        let group = model.permits.add_group(0);
        let full = model.permits.join(group, 0);
        let waker = futures::task::noop_waker();
        assert!(model.permits.poll_take(&full, &Context::from_waker(&waker)).is_pending());
        let (held, acceptor) = (model.clone(), acceptor(&model, 2));
        let held = thread::spawn(move || block_on(held.take_in_line()));
        model.exit();
        held.join().unwrap();
        model.exit();
        acceptor.join().unwrap();
        model.permits.give_back(model.all);
        assert!(!model.permits.try_take(group));
        model.permits.leave(&full);
        model.permits.remove_group(group);
        model.assert_unused(2);
    });
}
