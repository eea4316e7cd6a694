//! A run in which nodes and servers die, stall and come back, by a seed.
//!
//! `CLUSTER_CHAOS_SECONDS` sets its length, `CLUSTER_CHAOS_SEED` the seed, which then also decides between one server and three.
//! With `CLUSTER_CHAOS_KILL_SERVERS`, servers are killed (SIGKILL) instead of ended (SIGTERM).

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::join_all;
use nix::sys::signal::Signal;
use support::in_time;

use crate::checks::{Answer, Checks};
use crate::client::Client;
use crate::nats_server::NatsServer;
use crate::node::now;
use crate::process::{Process, TTL};

const NAMES: [&str; 4] = ["ann", "bob", "cat", "dan"];

/// Numbers of a seed. SplitMix64.
struct Random(Cell<u64>);

impl Random {
    fn below(&self, limit: u64) -> u64 {
        self.0.set(self.0.get().wrapping_add(0x9e37_79b9_7f4a_7c15));
        let mut mixed = self.0.get();
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }

    async fn pause(&self, from: u64, to: u64) {
        tokio::time::sleep(Duration::from_millis(from + self.below(to - from))).await;
    }

    fn name(&self) -> &'static str {
        NAMES[self.below(NAMES.len() as u64) as usize]
    }
}

struct Chaos {
    seed: u64,
    servers: RefCell<Vec<NatsServer>>,
    urls: String,
    nodes: Vec<RefCell<Option<Process>>>,
    checks: Arc<Checks>,
    is_over: Cell<bool>,
    counts: RefCell<HashMap<&'static str, usize>>,
}

impl Chaos {
    async fn new(seed: u64) -> Rc<Self> {
        let random = Random(Cell::new(seed));
        let has_three = random.below(3) == 0 && std::env::var("CLUSTER_CHAOS_SEED").is_ok();
        let servers = if has_three { NatsServer::cluster().into() } else { vec![NatsServer::start()] };
        let urls = servers.iter().map(|server| server.url.clone()).collect::<Vec<_>>().join(",");
        let nodes = (0..3 + random.below(3)).map(|_| RefCell::default()).collect();
        println!("seed {seed}: {} servers", servers.len());
        let (servers, checks) = (RefCell::new(servers), Arc::default());
        let (is_over, counts) = (Cell::new(false), RefCell::default());
        let chaos = Rc::new(Chaos { seed, servers, urls, nodes, checks, is_over, counts });
        join_all((0..chaos.nodes.len()).map(|node| chaos.start(node))).await;
        chaos
    }

    fn count(&self, what: &'static str) {
        *self.counts.borrow_mut().entry(what).or_default() += 1;
    }

    fn random(&self, task: u64) -> Random {
        Random(Cell::new(self.seed.wrapping_mul(1_000).wrapping_add(task)))
    }

    /// Starts a node, again and again: a server may be away.
    async fn start(&self, node: usize) {
        let replicas = self.servers.borrow().len();
        let began = Instant::now();
        loop {
            let started = Process::try_start(&format!("node{node}"), &self.urls, replicas, &self.checks).await;
            match started {
                Ok(process) => {
                    self.nodes[node].replace(Some(process));
                    return;
                }
                Err(error) => assert!(began.elapsed() < Duration::from_secs(60), "node{node} does not start: {error}"),
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    fn signal(&self, node: usize, signal: Signal) {
        if let Some(process) = &*self.nodes[node].borrow() {
            process.signal(signal);
        }
    }

    fn port(&self, node: usize) -> Option<u16> {
        self.nodes[node].borrow().as_ref().map(Process::port)
    }

    /// Ends and stalls one node after the other.
    async fn disturb_nodes(&self) {
        let random = self.random(1);
        while !self.is_over.get() {
            random.pause(300, 2_000).await;
            let node = random.below(self.nodes.len() as u64) as usize;
            match random.below(4) {
                0 => {
                    self.count("killed");
                    drop(self.nodes[node].take());
                    random.pause(0, 3_000).await;
                    self.start(node).await;
                }
                1 => {
                    self.count("left");
                    let process = self.nodes[node].take();
                    if let Some(mut process) = process {
                        process.signal(Signal::SIGTERM);
                        process.until_ended().await;
                    }
                    self.start(node).await;
                }
                _ => {
                    self.count("stopped");
                    self.signal(node, Signal::SIGSTOP);
                    random.pause(100, 2 * TTL.as_millis() as u64).await;
                    self.signal(node, Signal::SIGCONT);
                }
            }
        }
    }

    /// Ends and stalls one server after the other.
    async fn disturb_servers(&self) {
        let random = self.random(2);
        while !self.is_over.get() {
            random.pause(2_000, 5_000).await;
            let server = random.below(self.servers.borrow().len() as u64) as usize;
            if random.below(2) == 0 {
                self.count("servers ended");
                // Killed ones may be damaged: nats-server 2.9.10 does not always find what it has stored.
                match std::env::var("CLUSTER_CHAOS_KILL_SERVERS") {
                    Ok(_) => self.servers.borrow_mut()[server].stop(),
                    Err(_) => self.servers.borrow_mut()[server].end(),
                }
                random.pause(0, 2_000).await;
                self.servers.borrow_mut()[server].start_again();
            } else {
                self.count("servers stopped");
                self.servers.borrow()[server].pause();
                random.pause(100, 2_000).await;
                self.servers.borrow()[server].resume();
            }
        }
    }

    /// Opens connections that register, join, publish, and end.
    async fn client(&self, task: u64) {
        let random = self.random(task);
        while !self.is_over.get() {
            random.pause(1, 100).await;
            let Some(port) = self.port(random.below(self.nodes.len() as u64) as usize) else { continue };
            let Ok(Ok(mut client)) = tokio::time::timeout(TTL, Client::connect(port)).await else { continue };
            let (publisher, mut left) = (format!("{task}-{}", now()), None);
            for n in 0..random.below(30) {
                random.pause(1, 50).await;
                let line = match random.below(8) {
                    0 | 1 => format!("register {}", random.name()),
                    2 => format!("replace {}", random.name()),
                    3 => format!("unregister {}", random.name()),
                    4 if left.is_none() => "join lobby".to_owned(),
                    5 => format!("send {} hello", random.name()),
                    6 if n > 10 && left.is_none() => "leave lobby".to_owned(),
                    _ => format!("publish lobby {publisher} {}", now()),
                };
                let Ok(answer) = client.ask(&line).await else { break };
                match (&*line, &*answer) {
                    ("leave lobby", "true") => left = Some(published(&client).count()),
                    (_, "ok") if line.starts_with("re") => self.count("registered"),
                    (_, "published") => self.count("published"),
                    _ => {}
                }
            }
            if let Some(left) = left {
                assert_eq!(published(&client).count(), left, "a message after leaving");
            }
            check_order(&client);
            self.counts.borrow_mut().entry("received").and_modify(|sum| *sum += client.messages.len()).or_default();
        }
    }

    /// Asks one node all the time which connections have the names.
    async fn look_up(&self, node: usize) {
        let random = self.random(100 + node as u64);
        while !self.is_over.get() {
            random.pause(5, 50).await;
            let Some(port) = self.port(node) else { continue };
            let Ok(Ok(mut client)) = tokio::time::timeout(TTL, Client::connect(port)).await else { continue };
            while !self.is_over.get() {
                random.pause(1, 20).await;
                let (name, from) = (random.name(), now());
                let Ok(owner) = client.ask(&format!("whereis {name}")).await else { break };
                if !owner.starts_with("error") && owner != "not yet" {
                    let asked = format!("node{node}");
                    self.checks.answered(Answer { asked, from, to: now(), name: name.to_owned(), owner });
                }
            }
        }
    }

    /// Of servers that were killed, some find what they have stored after they were ended in order.
    fn restart_servers(&self) {
        for server in &mut *self.servers.borrow_mut() {
            server.end();
            server.start_again();
        }
    }

    /// After all is over, names and presence are what connections have.
    async fn check_rest(&self) {
        let (mut clients, mut asking, mut labels) = (Vec::new(), Vec::new(), Vec::new());
        for (node, process) in self.nodes.iter().enumerate() {
            let port = process.borrow().as_ref().unwrap().port();
            let mut client = Client::connect(port).await.unwrap();
            client.until(&format!("register own{node}"), "ok").await;
            client.until(&format!("label guest{node}"), "ok").await;
            assert_eq!(client.ask("join lobby").await.unwrap(), "joined");
            let owner = format!("node{node} {}", client.ask("id").await.unwrap());
            labels.push(format!("guest{node}"));
            clients.push((format!("own{node}"), owner, client));
            asking.push(Client::connect(port).await.unwrap());
        }
        for client in &mut asking {
            client.until("who lobby", &labels.join(",")).await;
            for (name, owner, _) in &clients {
                client.until(&format!("whereis {name}"), owner).await;
            }
            // All connections that had these have ended.
            for name in NAMES {
                client.until(&format!("whereis {name}"), "none").await;
            }
        }
        // And they can be had. Each message arrives once.
        for (at, name) in NAMES.iter().enumerate() {
            let client = &mut clients[at % self.nodes.len()].2;
            client.until(&format!("register {name}"), "ok").await;
        }
        for (at, client) in asking.iter_mut().enumerate() {
            assert_eq!(client.ask(&format!("publish lobby last {at}")).await.unwrap(), "published");
        }
        for (_, _, client) in &mut clients {
            let mut received = Vec::new();
            while received.len() < asking.len() {
                received.push(in_time(client.next()).await.unwrap());
            }
            received.sort();
            let expected: Vec<_> = (0..asking.len()).map(|at| format!("last {at}")).collect();
            assert_eq!(received, expected);
            client.messages.clear();
            client.ask("id").await.unwrap();
            assert!(client.messages.is_empty(), "{:?}", client.messages);
        }
    }
}

fn published(client: &Client) -> impl Iterator<Item = &String> {
    client.messages.iter().filter(|message| *message != "hello")
}

/// The messages of each publisher are in order, and none came twice.
fn check_order(client: &Client) {
    let mut last = HashMap::new();
    for message in published(client) {
        let (publisher, time) = message.split_once(' ').unwrap();
        let time: u64 = time.parse().unwrap();
        let former = last.insert(publisher, time);
        assert!(former.is_none_or(|former| former < time), "{message:?} after {former:?}");
    }
}

#[actix::test]
async fn names_have_one_owner_while_nodes_and_servers_die() {
    let number = |name| std::env::var(name).ok().and_then(|value| value.parse().ok());
    let seconds = number("CLUSTER_CHAOS_SECONDS").unwrap_or(10);
    let seed = number("CLUSTER_CHAOS_SEED").unwrap_or_else(|| now() % 1_000_000);
    let chaos = Chaos::new(seed).await;
    let single = chaos.servers.borrow().len() == 1;
    let time = async {
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        chaos.is_over.set(true);
    };
    let clients = join_all((10..16).map(|task| chaos.client(task)));
    let looks = join_all((0..chaos.nodes.len()).map(|node| chaos.look_up(node)));
    tokio::join!(time, clients, looks, chaos.disturb_nodes(), chaos.disturb_servers());
    chaos.restart_servers();
    chaos.check_rest().await;
    drop(chaos.nodes.iter().map(RefCell::take).collect::<Vec<_>>());
    let reports = chaos.checks.check_owners();
    let (answers, wrong) = chaos.checks.check_answers();
    let counts = chaos.counts.borrow();
    println!("seed {seed}: {reports} reports, {answers} answers, {} wrong, {counts:?}", wrong.len());
    let registered = counts.get("registered").copied().unwrap_or_default();
    let least = usize::try_from(seconds).unwrap();
    assert!(reports > least && answers > least && registered > least, "seed {seed}: too little has happened");
    // A former leader of several servers may answer with what it had.
    assert!(wrong.is_empty() || !single, "seed {seed}: {} wrong answers: {:?}", wrong.len(), wrong.first());
}
