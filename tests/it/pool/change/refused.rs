//! What would be refused: named, all of it, and then nothing is changed.

use std::time::Duration;

use actix_acceptor::error::InvalidSetting;
use actix_acceptor::{
    error::SettingsError,
    info::Status,
    limits::{AtLimit, OverRate, PacketRate, PeerPrefix, Rate},
    AcceptorPool, Connection, Drain, Pool, Settings, StartError,
};

use support::*;

async fn pool() -> Pool<Connection<Echo>> {
    AcceptorPool::with_protocol(|_| Echo).acceptors(2).bind("127.0.0.1:0").await.unwrap()
}

type Wrong = fn(&mut Settings);

/// Settings that make no sense, by the name in the objection.
const WRONG: [(&str, Wrong); 16] = [
    ("acceptors", |settings| settings.acceptors = Some(1_025)),
    ("acceptors", |settings| settings.acceptors = Some(0)),
    ("low_watermark", |settings| settings.low_watermark = settings.high_watermark + 1),
    ("mailbox_capacity", |settings| settings.mailbox_capacity = 0),
    ("max_age_jitter", |settings| settings.max_age_jitter = Duration::from_secs(1)),
    ("max_connections", |settings| settings.max_connections = 0),
    ("max_per_peer", |settings| settings.max_per_peer = Some(0)),
    ("at_limit", |settings| settings.at_limit = AtLimit::Hold(Duration::ZERO)),
    ("accept_rate", |settings| settings.accept_rate = Some(Rate::new(0, Duration::from_secs(1)))),
    ("peer_rate", |settings| settings.peer_rate = Some(Rate::new(1, Duration::ZERO))),
    ("packet_rate", |settings| settings.packet_rate = Some(PacketRate::new(0, Duration::from_secs(1), OverRate::Slow))),
    ("peer_prefix", |settings| settings.peer_prefix = PeerPrefix::new(33, 64)),
    // These make sense, but not while the pool runs.
    ("peer_prefix", |settings| settings.peer_prefix = PeerPrefix::new(24, 64)),
    ("reserve_descriptor", |settings| settings.reserve_descriptor = true),
    ("max_handshakes", |settings| settings.max_handshakes = 7),
    ("watchdog", |settings| settings.watchdog = None),
];

fn invalid_settings(refused: SettingsError) -> Vec<(&'static str, String)> {
    match refused {
        SettingsError::Invalid(all) => {
            all.iter().map(|objection| (objection.setting, objection.why.to_string())).collect()
        }
        other => panic!("{other:?}"),
    }
}

#[actix::test]
async fn each_invalid_setting_is_named_and_changes_nothing() {
    let pool = pool().await;
    let before = pool.settings();
    for (setting, wrong) in WRONG {
        let refused = pool.change(move |settings| {
            settings.max_per_peer = Some(7);
            settings.idle_timeout = None;
            wrong(settings);
        });
        let refused = refused.await.unwrap_err();
        assert!(refused.to_string().contains(setting), "{refused}");
        let invalid_settings = invalid_settings(refused);
        assert!(
            invalid_settings.iter().all(|(named, why)| *named == setting && !why.is_empty()),
            "{invalid_settings:?}"
        );
        assert_eq!(pool.settings(), before, "{setting}");
    }
    connect(&pool).await.echo("as before").await;
    in_time(pool.stop(Duration::ZERO)).await;
}

#[actix::test]
async fn several_invalid_settings_are_named_at_once() {
    let pool = pool().await;
    let refused = pool.change(|settings| {
        settings.max_connections = 0;
        settings.mailbox_capacity = 0;
        settings.reserve_descriptor = true;
        settings.idle_timeout = None;
    });
    let refused = refused.await.unwrap_err();
    let text = refused.to_string();
    let mut named: Vec<_> = invalid_settings(refused).into_iter().map(|(setting, _)| setting).collect();
    named.sort_unstable();
    assert_eq!(named, ["mailbox_capacity", "max_connections", "reserve_descriptor"]);
    assert!(named.iter().all(|setting| text.contains(setting)), "{text}");
    in_time(pool.stop(Duration::ZERO)).await;
}

#[actix::test]
async fn builder_and_running_pool_refuse_the_same() {
    for (setting, wrong) in &WRONG[..10] {
        let mut settings = Settings::default();
        wrong(&mut settings);
        match AcceptorPool::with_protocol(|_| Echo).settings(settings).bind("127.0.0.1:0").await {
            Err(StartError::InvalidSetting(InvalidSetting { setting: named, .. })) => assert_eq!(named, *setting),
            other => panic!("{setting}: {other:?}"),
        }
    }
}

#[actix::test]
async fn settings_read_back_and_untouched_ones_stay() {
    let pool = AcceptorPool::with_protocol(|_| Echo).acceptors(2).grace(None).max_per_peer(9).bind("127.0.0.1:0");
    let pool = pool.await.unwrap();
    let mut expected = Settings::default();
    (expected.acceptors, expected.grace, expected.max_per_peer) = (Some(2), None, Some(9));
    assert_eq!(pool.settings(), expected);
    expected.max_connections = 50;
    expected.idle_timeout = Some(Duration::from_secs(1));
    expected.refusal_message = "bye".into();
    let all = expected.clone();
    pool.change(move |settings| *settings = all).await.unwrap();
    assert_eq!(pool.settings(), expected);
    // No change is one, too.
    pool.change(|_| {}).await.unwrap();
    assert_eq!(pool.settings(), expected);
    in_time(pool.stop(Duration::ZERO)).await;
}

#[actix::test]
async fn only_a_running_pool_can_be_changed() {
    let pool = pool().await;
    let draining = actix_rt::spawn({
        let pool = pool.clone();
        async move { pool.drain(Drain::grace(None).delay(Duration::from_secs(600))).await }
    });
    eventually(|| pool.status() == Status::Draining).await;
    assert_eq!(pool.change(|_| {}).await, Err(SettingsError::NotRunning));
    in_time(pool.stop(Duration::ZERO)).await;
    in_time(draining).await.unwrap();
    assert_eq!(pool.change(|_| {}).await, Err(SettingsError::NotRunning));
}

#[actix::test]
async fn a_panicking_change_changes_nothing() {
    let pool = pool().await;
    let mut peer = connect(&pool).await;
    peer.echo("before").await;
    let (before, asking) = (pool.settings(), pool.clone());
    let panicking = actix_rt::spawn(async move {
        let change = asking.change(|settings| {
            settings.max_connections = 1;
            panic!("a change panics");
        });
        let _ = change.await;
    });
    let _ = in_time(panicking).await;
    assert_eq!((pool.status(), pool.settings()), (Status::Running, before));
    peer.echo("after").await;
    connect(&pool).await.echo("new").await;
    in_time(pool.stop(Duration::ZERO)).await;
}
