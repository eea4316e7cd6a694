//! [`SettingDescription`], for programs that list the settings.

use super::Settings;

/// What a setting is, for programs that list the settings. Returned by [`Settings::descriptions`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct SettingDescription {
    /// The name of the setting: a field of [`Settings`].
    pub name: &'static str,
    /// What its value measures.
    pub unit: SettingUnit,
    /// When a change takes effect.
    pub takes_effect: TakesEffect,
    /// The documentation of the field as plain text, paragraphs separated by a line feed.
    pub description: String,
}

/// What the value of a setting measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "snake_case"))]
pub enum SettingUnit {
    /// A number of things.
    Count,
    /// A number of bytes.
    Bytes,
    /// A length of time.
    Duration,
    /// A number of things per time.
    Rate,
    /// Bytes, usually text.
    Text,
    /// On or off.
    Switch,
    /// One of several values.
    Choice,
    /// A list of access rules.
    Rules,
    /// Numbers of leading bits.
    Prefix,
}

/// When a change of a setting takes effect in a running pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "snake_case"))]
pub enum TakesEffect {
    /// At once, also for live connections.
    AtOnce,
    /// For new connections.
    NewConnections,
    /// Only in a new pool: a running one rejects the change.
    Restart,
}

impl Settings {
    /// A description of every setting, in the order of the fields.
    ///
    /// ```
    /// use actix_acceptor::info::{SettingUnit, TakesEffect};
    /// use actix_acceptor::Settings;
    ///
    /// let settings = Settings::descriptions();
    /// let idle = settings.iter().find(|setting| setting.name == "idle_timeout").expect("a setting");
    /// assert_eq!((idle.unit, idle.takes_effect), (SettingUnit::Duration, TakesEffect::NewConnections));
    /// assert_eq!(idle.description, "How long a peer may be silent. None: no limit. Default: 60 seconds.");
    /// ```
    pub fn descriptions() -> Vec<SettingDescription> {
        let describe = |&(name, documentation): &(&'static str, &str)| SettingDescription {
            name,
            unit: unit(name),
            takes_effect: takes_effect(name),
            description: plain(documentation),
        };
        Self::DOCUMENTED.iter().map(describe).collect()
    }
}

fn unit(setting: &str) -> SettingUnit {
    match setting {
        "high_watermark" | "low_watermark" | "outbox" | "max_read_buffer" => SettingUnit::Bytes,
        "restart_window" | "grace" | "handshake_timeout" | "idle_timeout" | "packet_timeout" | "send_timeout"
        | "max_age" | "max_age_jitter" | "watchdog" => SettingUnit::Duration,
        "peer_rate" | "accept_rate" | "packet_rate" => SettingUnit::Rate,
        "refusal_message" => SettingUnit::Text,
        "reserve_descriptor" | "half_close" => SettingUnit::Switch,
        "backlog_on_close" | "at_limit" | "refuse_with" | "at_rate" | "slow_consumer" | "active" => SettingUnit::Choice,
        "rules" => SettingUnit::Rules,
        "peer_prefix" => SettingUnit::Prefix,
        _ => SettingUnit::Count,
    }
}

fn takes_effect(setting: &str) -> TakesEffect {
    match setting {
        "peer_prefix" | "reserve_descriptor" | "max_handshakes" | "watchdog" => TakesEffect::Restart,
        "handshake_timeout" | "idle_timeout" | "packet_timeout" | "send_timeout" | "max_age" | "max_age_jitter"
        | "high_watermark" | "low_watermark" | "half_close" | "active" | "packet_rate" | "max_read_buffer"
        | "mailbox_capacity" => TakesEffect::NewConnections,
        _ => TakesEffect::AtOnce,
    }
}

/// Documentation without its markup: the text of links, no backquotes, one line per paragraph.
fn plain(documentation: &str) -> String {
    let paragraphs = documentation.split("\n\n").map(|lines| {
        let line = lines.lines().map(str::trim).collect::<Vec<_>>().join(" ");
        without_links(line.trim()).replace('`', "")
    });
    paragraphs.collect::<Vec<_>>().join("\n")
}

fn without_links(text: &str) -> String {
    let (mut plain, mut rest) = (String::new(), text);
    while let Some((before, (link, after))) =
        rest.split_once('[').and_then(|(before, rest)| Some((before, rest.split_once(']')?)))
    {
        plain.extend([before, link]);
        let target = after.strip_prefix('(').and_then(|target| target.split_once(')'));
        rest = target.map_or(after, |(_, after)| after);
    }
    plain + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The row of the table in the documentation of `Settings` that begins with this text.
    fn row(start: &str) -> Vec<String> {
        let source = include_str!("settings.rs");
        let row = source.lines().find_map(|line| line.trim().strip_prefix(start)).expect("the row");
        row.split('`').skip(1).step_by(2).map(str::to_owned).collect()
    }

    #[test]
    fn descriptions_agree_with_the_documented_table() {
        for (start, expected) in [
            ("/// | at once |", TakesEffect::AtOnce),
            ("/// | for new connections |", TakesEffect::NewConnections),
            ("/// | never: a running pool rejects it |", TakesEffect::Restart),
        ] {
            let mut described: Vec<_> = Settings::descriptions().into_iter().collect();
            described.retain(|setting| setting.takes_effect == expected);
            let mut names: Vec<_> = described.iter().map(|setting| setting.name.to_owned()).collect();
            let mut documented = row(start);
            names.sort();
            documented.sort();
            assert_eq!(names, documented, "{start}");
        }
    }

    #[test]
    fn settings_that_need_a_restart_are_rejected() {
        let (before, mut after) = (Settings::default(), Settings::default());
        after.peer_prefix.v4 = 24;
        after.reserve_descriptor = true;
        after.max_handshakes = 7;
        after.watchdog = None;
        let rejected: Vec<_> = after.invalid_changes(&before).iter().map(|invalid| invalid.setting).collect();
        let mut restart = Settings::descriptions();
        restart.retain(|setting| setting.takes_effect == TakesEffect::Restart);
        assert_eq!(rejected, restart.iter().map(|setting| setting.name).collect::<Vec<_>>());
    }

    #[test]
    fn descriptions_have_no_markup() {
        for setting in Settings::descriptions() {
            let text = &setting.description;
            assert!(!text.is_empty() && !text.contains(['`', '[', ']']) && !text.contains("crate::"), "{setting:?}");
        }
    }

    #[cfg(feature = "config")]
    #[test]
    fn units_agree_with_the_written_defaults() {
        let settings = serde_json::to_value(Settings::default()).expect("settings are serializable");
        for SettingDescription { name, unit, .. } in Settings::descriptions() {
            let value = &settings[name];
            let fits = match unit {
                SettingUnit::Count | SettingUnit::Bytes => value.is_u64() || value == "none",
                SettingUnit::Duration => value.as_str().is_some_and(|text| text != "none"),
                SettingUnit::Rate => value == "none",
                SettingUnit::Text | SettingUnit::Choice => value.is_string(),
                SettingUnit::Switch => value.is_boolean(),
                SettingUnit::Rules => value.is_array(),
                SettingUnit::Prefix => value.is_object(),
            };
            assert!(fits, "{name}: {unit:?} {value}");
        }
    }
}
