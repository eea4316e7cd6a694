//! Several nodes with names in one task, on a paused clock. Each step is chosen by a seed: what clients do, how long each
//! request to the buckets takes, whether it or its answer is lost, which node stalls, and which one crashes.

mod history;
mod node;
mod random;
mod store;

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use history::History;
use node::SimNode;
use random::Random;
pub(crate) use store::FaultyStore;
use store::Network;

const TTL: Duration = Duration::from_secs(2);
const NODES: usize = 3;
const NAMES: [&str; 3] = ["ann", "bob", "cat"];

/// For this time, nodes have faults. Then the names must become right.
const FAULTY: Duration = Duration::from_secs(8);

/// What all nodes share.
struct World {
    network: Arc<Network>,
    nodes: Mutex<Vec<Arc<SimNode>>>,
}

impl World {
    fn random(&self) -> &Random {
        &self.network.random
    }

    fn nodes(&self) -> Vec<Arc<SimNode>> {
        self.nodes.lock().clone()
    }

    /// No name has two owners, as the nodes themselves see it.
    fn check_owners(&self) {
        let nodes = self.nodes.lock();
        for name in NAMES {
            let owners: Vec<_> = nodes.iter().filter(|node| node.naming.owner_here(name).is_some()).collect();
            assert!(
                owners.len() <= 1,
                "{name} has owners {:?}",
                owners.iter().map(|node| &node.name).collect::<Vec<_>>()
            );
        }
    }
}

/// Runs one seed. `stale` lets a node read leases that are there as missing, as a former leader of the servers would.
async fn run(seed: u64, stale: bool) -> usize {
    let network = Arc::new(Network::new(Random::new(seed), TTL, stale));
    let world = Arc::new(World { network: network.clone(), nodes: Mutex::default() });
    for index in 0..NODES {
        let node = SimNode::start(&world, index);
        world.nodes.lock().push(node);
    }
    let end = Instant::now() + FAULTY;
    let check = world.clone();
    let checks = tokio::spawn(async move {
        loop {
            check.check_owners();
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
    });
    while Instant::now() < end {
        network.random.pause(50..2_000).await;
        let index = network.random.below(NODES);
        match network.random.below(6) {
            0 => {
                let former = std::mem::replace(&mut world.nodes.lock()[index], SimNode::start(&world, index));
                former.crash();
            }
            1 => {
                let former = std::mem::replace(&mut world.nodes.lock()[index], SimNode::start(&world, index));
                tokio::spawn(async move { former.leave().await });
            }
            2 | 3 => network.stall(index, Duration::from_millis(network.random.range(100..4_000))),
            _ => {}
        }
    }
    network.end_faults();
    for node in world.nodes() {
        node.end_clients().await;
    }
    tokio::time::sleep(TTL * 3).await;
    for name in NAMES {
        let mut owner = None;
        for node in world.nodes() {
            if let Some(id) = node.naming.owner_here(name) {
                owner = Some((node.name.clone(), id.get()));
            }
        }
        for node in world.nodes() {
            let found = node.whereis(name).await.expect("no faults").map(|owner| (owner.node, owner.connection));
            assert_eq!(found, owner, "{name}, as {} sees it: {}", node.name, network.history.last_changes(name));
        }
    }
    // Each name can be had.
    for (name, node) in NAMES.iter().zip(world.nodes()) {
        node.take_over(name).await;
    }
    world.check_owners();
    checks.abort();
    let failed = checks.await.expect_err("it never ends");
    assert!(failed.is_cancelled(), "{failed}");
    world.nodes().iter().for_each(|node| node.crash());
    match stale {
        true => 0,
        false => network.history.check(TTL),
    }
}

fn run_seeds(seeds: std::ops::Range<u64>, stale: bool) {
    let mut looked_up = 0;
    for seed in seeds {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        let run = std::panic::AssertUnwindSafe(|| runtime.expect("a runtime").block_on(run(seed, stale)));
        match std::panic::catch_unwind(run) {
            Ok(answers) => looked_up += answers,
            Err(panic) => {
                eprintln!("seed {seed}");
                std::panic::resume_unwind(panic);
            }
        }
    }
    assert_eq!(looked_up == 0, stale);
}

fn seeds() -> std::ops::Range<u64> {
    let number = |name| std::env::var(name).ok().and_then(|value: String| value.parse().ok());
    let first = number("CLUSTER_SEED").unwrap_or(0);
    first..first + number("CLUSTER_SEEDS").unwrap_or(12)
}

#[test]
fn no_name_has_two_owners_whatever_gets_lost_or_late() {
    run_seeds(seeds(), false);
}

#[test]
fn a_server_with_old_leases_gives_no_name_away() {
    run_seeds(seeds(), true);
}
