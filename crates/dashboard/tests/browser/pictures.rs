//! Pictures of the page under load, for the README and for looking at changes.

use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use super::page::Page;
use super::server::{Options, Server};

/// Decodes base64.
fn decoded(text: &str) -> Vec<u8> {
    let value = |byte: u8| match byte {
        b'A'..=b'Z' => u32::from(byte - b'A'),
        b'a'..=b'z' => u32::from(byte - b'a') + 26,
        b'0'..=b'9' => u32::from(byte - b'0') + 52,
        b'+' => 62,
        _ => 63,
    };
    let digits: Vec<u8> = text.bytes().filter(|byte| *byte != b'=').collect();
    let groups = digits.chunks(4).flat_map(|group| {
        let bits = group.iter().enumerate().fold(0, |bits, (at, byte)| bits | value(*byte) << (18 - 6 * at));
        bits.to_be_bytes()[1..group.len()].to_vec()
    });
    groups.collect()
}

#[test]
#[ignore = "writes pictures to the directory PICTURES, after a minute of load"]
fn pictures_of_the_page() {
    let directory = PathBuf::from(std::env::var_os("PICTURES").expect("PICTURES is set"));
    let server = Server::start(Options { has_feed: true, ..Options::default() });
    let names = ["ann", "bob", "carla", "dmitri", "eve", "fatima", "george", "hana"];
    let mut peers: Vec<_> = (0..40).map(|at| server.peer(&format!("{}-{at}", names[at % names.len()]))).collect();
    for (at, peer) in peers.iter_mut().enumerate() {
        peer.ask(&format!("join {}", ["lobby", "kitchen", "garden", "news"][at % 4]));
        peer.ask(&format!("name guest-{at}"));
    }
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut turn = 0_usize;
            while !is_over.load(Relaxed) {
                for (at, peer) in peers.iter_mut().enumerate().take(20 + (turn / 3) % 20) {
                    peer.ask(&"x".repeat(20 + (turn * 7 + at * 13) % 300));
                }
                turn += 1;
                thread::sleep(Duration::from_millis(20));
            }
        });
        scope.spawn(|| {
            let mut turn = 0_usize;
            while !is_over.load(Relaxed) {
                let visitors: Vec<_> = (0..turn % 7).map(|at| server.peer(&format!("visitor-{at}"))).collect();
                thread::sleep(Duration::from_millis(150 + (turn as u64 * 37) % 400));
                drop(visitors);
                turn += 1;
            }
        });
        let result = std::panic::catch_unwind(AssertUnwindSafe(|| {
            let page = Page::open(&server, "overview");
            thread::sleep(Duration::from_secs(65));
            for theme in ["light", "dark"] {
                page.browser.prefer(theme);
                for (width, height) in [(400, 860), (1000, 900), (1400, 900), (2000, 1100)] {
                    page.browser.resize(width, height);
                    for view in ["overview", "connections", "details", "topics", "events", "settings", "dialog"] {
                        page.show(if view == "details" || view == "dialog" { "connections" } else { view });
                        if view == "details" {
                            page.details("ann-0");
                        }
                        if view == "dialog" {
                            page.button("Drain\u{2026}");
                        }
                        thread::sleep(Duration::from_millis(1200));
                        let file = directory.join(format!("{view}-{width}-{theme}.png"));
                        std::fs::write(file, decoded(&page.browser.screenshot())).expect("the directory is writable");
                    }
                }
            }
        }));
        is_over.store(true, Relaxed);
        result.expect("the pictures are taken");
    });
}
