//! Patches of settings: what they leave out stays as it is.

use std::time::Duration;

use actix_acceptor::{error::SettingsError, AcceptorPool, Connection, Pool, Settings, SettingsPatch};
use serde_json::{json, Value};
use support::*;

use super::everything;

fn patch(text: Value) -> SettingsPatch {
    serde_json::from_value(text).unwrap()
}

/// A pool whose program has set some settings.
async fn pool() -> Pool<Connection<Echo>> {
    let builder = AcceptorPool::with_protocol(|_| Echo).acceptors(2).mailbox_capacity(64).grace(None);
    builder.patch(patch(json!({ "max_age": "1h", "mailbox_capacity": 32 }))).bind("127.0.0.1:0").await.unwrap()
}

#[test]
fn every_setting_can_be_patched_alone() {
    let (all, expected) = everything();
    let mut merged = SettingsPatch::default();
    assert!(merged.is_empty());
    for (setting, value) in all.as_object().unwrap() {
        let text = json!({ setting: value });
        let one = patch(text.clone());
        assert!(!one.is_empty(), "{setting}");
        assert_eq!(serde_json::to_value(&one).unwrap(), text);

        let mut settings = Settings::default();
        let changed = settings.apply(one.clone());
        let mut only_this = serde_json::to_value(Settings::default()).unwrap();
        let old = std::mem::replace(&mut only_this[setting], value.clone());
        assert_eq!(serde_json::to_value(&settings).unwrap(), only_this);
        let expected = json!({ setting: { "old": old, "new": value } });
        assert_eq!(serde_json::to_value(&changed).unwrap(), expected);
        let changed = changed.settings();
        assert!(changed.len() == 1 && changed[0].setting == setting, "{changed:?}");
        assert_ne!(changed[0].old, changed[0].new);
        merged.merge(one);
    }
    assert_eq!(merged, SettingsPatch::from(expected));
}

#[test]
fn an_optional_setting_has_three_states() {
    for (setting, value, never) in [
        ("idle_timeout", json!("10s"), json!("never")),
        ("grace", json!("0s"), json!(null)),
        ("max_per_peer", json!(3), json!("none")),
        ("accept_rate", json!({ "burst": 1, "per": "1s" }), json!(null)),
        ("acceptors", json!(1), json!("none")),
    ] {
        let mut settings = Settings::default();
        settings.apply(patch(json!({ setting: value })));
        let set = serde_json::to_value(&settings).unwrap();
        assert_eq!(set[setting], value);
        settings.apply(patch(json!({})));
        assert_eq!(serde_json::to_value(&settings).unwrap(), set, "{setting} was left out");
        settings.apply(patch(json!({ setting: never })));
        let disabled = serde_json::to_value(&settings).unwrap();
        assert!(disabled[setting] == "never" || disabled[setting] == "none", "{setting}: {disabled}");
    }
}

#[actix::test]
async fn what_a_patch_leaves_out_stays_as_it_is() {
    let pool = pool().await;
    let mut expected = Settings::default();
    (expected.acceptors, expected.grace, expected.mailbox_capacity) = (Some(2), None, 32);
    expected.max_age = Some(Duration::from_secs(3600));
    assert_eq!(pool.settings(), expected);

    pool.change(|settings| settings.half_close = true).await.unwrap();
    let changed = in_time(pool.apply(patch(json!({ "max_connections": 10, "max_age": "1h" })))).await.unwrap();
    (expected.max_connections, expected.half_close) = (10, true);
    assert_eq!(pool.settings(), expected);
    assert_eq!(changed.to_string(), "max_connections: 16384 -> 10");
    assert!(changed.contains("max_connections") && !changed.contains("max_age"));
    assert_eq!(pool.info().max_connections, 10);

    let again = in_time(pool.apply(patch(json!({ "max_connections": 10 })))).await.unwrap();
    assert!(again.is_empty(), "{again}");
    assert_eq!(again.to_string(), "nothing changed");
    in_time(pool.stop(Duration::ZERO)).await;
}

#[actix::test]
async fn a_patch_is_applied_whole_or_not_at_all() {
    let pool = pool().await;
    let before = pool.settings();
    for (text, named) in [
        (json!({ "max_connections": 10, "mailbox_capacity": 0 }), "mailbox_capacity"),
        (json!({ "max_connections": 10, "watchdog": "never" }), "watchdog"),
        (json!({ "max_connections": 10, "max_age": "never", "max_age_jitter": "1s" }), "max_age_jitter"),
        (json!({ "max_connections": 10, "high_watermark": 10 }), "high_watermark"),
        (json!({ "max_connections": 10, "low_watermark": 100_000 }), "low_watermark"),
    ] {
        match in_time(pool.apply(patch(text))).await {
            Err(SettingsError::Invalid(invalid)) => assert_eq!(invalid[0].setting, named),
            other => panic!("{named}: {other:?}"),
        }
        assert_eq!(pool.settings(), before, "{named}");
    }
    in_time(pool.stop(Duration::ZERO)).await;
    let patch = patch(json!({ "max_connections": 10 }));
    assert_eq!(in_time(pool.apply(patch)).await, Err(SettingsError::NotRunning));
}

#[test]
fn changes_are_shown_as_a_file_writes_them() {
    let mut settings = Settings::default();
    let changed = settings.apply(patch(json!({
        "at_limit": { "hold": "2s" },
        "idle_timeout": "5m",
        "packet_timeout": "never",
        "accept_rate": { "burst": 500, "per": "1s" },
        "peer_prefix": { "v4": 24, "v6": 56 },
        "rules": ["deny 10.0.0.0/8"],
        "active": { "count": 3 },
        "backlog_on_close": "refuse",
    })));
    let shown: Vec<_> = changed.settings().iter().map(ToString::to_string).collect();
    assert_eq!(
        shown,
        [
            "backlog_on_close: accept -> refuse",
            "at_limit: wait -> { hold = \"2s\" }",
            "peer_prefix: { v4 = 32, v6 = 64 } -> { v4 = 24, v6 = 56 }",
            "accept_rate: none -> { burst = 500, per = \"1s\" }",
            "rules: [] -> [\"deny 10.0.0.0/8\"]",
            "idle_timeout: 1m -> 5m",
            "packet_timeout: 10s -> never",
            "active: always -> { count = 3 }",
        ]
    );
}

#[actix::test]
async fn a_fixed_setting_is_shown_as_a_file_writes_it() {
    let pool = pool().await;
    let error = in_time(pool.apply(patch(json!({ "watchdog": "3s" })))).await.unwrap_err();
    let text = "watchdog: cannot be changed while the pool runs (is 100ms, got 3s); restart the pool";
    assert_eq!(error.to_string(), text);
    in_time(pool.stop(Duration::ZERO)).await;
}
