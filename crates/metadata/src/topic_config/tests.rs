use super::*;
use crate::FeatureLevel;

fn set(pairs: &[(&str, &str)]) -> ConfigChange {
    ConfigChange {
        set: pairs
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect(),
        unset: Vec::new(),
    }
}

fn create(pairs: &[(&str, &str)], replicas: usize) -> Result<TopicConfig, Vec<ConfigMistake>> {
    set(pairs).apply(None, replicas, FeatureLevel::V1)
}

#[test]
fn the_table_is_sorted_by_name_and_its_numbers_are_distinct() {
    assert!(CONFIGS.is_sorted_by_key(|spec| spec.name));
    for spec in CONFIGS {
        assert_eq!(spec.key.spec(), spec);
        assert_eq!(ConfigKey::from_number(spec.key.number()), Some(spec.key));
        assert_eq!(ConfigKey::from_name(spec.name), Some(spec.key));
        if let ConfigKind::Integer {
            default: Some(default),
            min,
            max,
        } = spec.kind
        {
            assert!((min..=max).contains(&default), "{}", spec.name);
        }
    }
}

#[test]
fn defaults_are_what_the_design_says() {
    let config = create(&[], 3).expect("nothing wrong");
    assert_eq!(config.retention_ms(), Some(604_800_000));
    assert_eq!(config.retention_bytes(), None);
    assert_eq!(config.segment_bytes(), 1 << 30);
    assert_eq!(config.max_message_bytes(), 1_048_576);
    assert_eq!(config.timestamp_type(), TimestampType::Create);
    assert_eq!(config.timestamp_after_max_ms(), 3_600_000);
    assert_eq!(config.timestamp_before_max_ms(), i64::MAX.unsigned_abs());
    assert_eq!(config.durability(), Durability::Fsync);
    assert!(!config.unclean_leader_election());
    assert_eq!(config.min_insync_replicas(), 2);
    assert_eq!(create(&[], 1).expect("nothing wrong").min_insync_replicas(), 1);
    assert_eq!(create(&[], 5).expect("nothing wrong").min_insync_replicas(), 3);
}

#[test]
fn each_setting_is_read_from_its_own_key() {
    let config = create(
        &[
            ("cleanup.policy", "compact"),
            ("delete.retention.ms", "5"),
            ("flush.bytes", "6"),
            ("flush.ms", "7"),
            ("max.message.bytes", "2048"),
            ("message.timestamp.after.max.ms", "8"),
            ("message.timestamp.before.max.ms", "9"),
            ("message.timestamp.type", "LogAppendTime"),
            ("min.cleanable.dirty.ratio", "0.25"),
            ("min.compaction.lag.ms", "10"),
            ("min.insync.replicas", "3"),
            ("retention.bytes", "11"),
            ("retention.ms", "12"),
            ("segment.bytes", "65537"),
            ("segment.ms", "1001"),
            ("unclean.leader.election.enable", "true"),
        ],
        3,
    )
    .expect("nothing wrong");
    assert!(config.cleanup_policy().compacts() && !config.cleanup_policy().deletes());
    assert_eq!(config.delete_retention_ms(), 5);
    assert_eq!((config.flush_bytes(), config.flush_ms()), (6, 7));
    assert_eq!(config.max_message_bytes(), 2048);
    assert_eq!(
        (config.timestamp_after_max_ms(), config.timestamp_before_max_ms()),
        (8, 9)
    );
    assert_eq!(config.timestamp_type(), TimestampType::LogAppend);
    assert_eq!(config.min_cleanable_dirty_ratio(), RATIO_ONE.unsigned_abs() / 4);
    assert_eq!(
        (config.min_compaction_lag_ms(), config.min_insync_replicas()),
        (10, 3)
    );
    assert_eq!(
        (config.retention_bytes(), config.retention_ms()),
        (Some(11), Some(12))
    );
    assert_eq!((config.segment_bytes(), config.segment_ms()), (65_537, 1001));
    assert!(config.unclean_leader_election());
}

#[test]
fn the_limits_of_a_number_are_allowed_and_nothing_beyond_them() {
    for spec in CONFIGS {
        let ConfigKind::Integer { min, max, .. } = spec.kind else {
            continue;
        };
        // More replicas than the smallest topic has are another mistake.
        let replicas = if spec.key == ConfigKey::MinInsyncReplicas {
            1_000
        } else {
            1
        };
        let taken = |value: i128| create(&[(spec.name, &value.to_string())], replicas).is_ok();
        let (min, max) = (i128::from(min), i128::from(max));
        assert!(taken(min) && taken(max), "{}", spec.name);
        assert!(!taken(min - 1) && !taken(max + 1), "{}", spec.name);
    }
}

#[test]
fn a_key_with_a_slip_is_answered_with_the_one_that_was_meant() {
    for (slip, meant) in [
        ("durabilty", "durability"),
        ("segment.byte", "segment.bytes"),
        ("xflush.ms", "flush.ms"),
        ("retension.bytes", "retention.bytes"),
        ("min.insync.replica", "min.insync.replicas"),
        ("cleanup_policy", "cleanup.policy"),
        ("max.msg.bytes", "max.message.bytes"),
    ] {
        let mistakes = create(&[(slip, "1")], 1).expect_err("no such key");
        assert!(
            matches!(&mistakes[..], [ConfigMistake::Unknown { key, nearest }] if key == slip && *nearest == meant),
            "{slip}: {mistakes:?}"
        );
    }
}

#[test]
fn every_mistake_is_named_at_once() {
    let mistakes = create(
        &[
            ("retention.mss", "1"),
            ("compression.type", "zstd"),
            ("cleanup.policy", "squeeze"),
            ("min.cleanable.dirty.ratio", "1.5"),
            ("segment.bytes", "12"),
            ("segment.ms", "soon"),
            ("unclean.leader.election.enable", "yes"),
            ("min.insync.replicas", "4"),
            ("flush.ms", "5"),
            ("flush.ms", "6"),
        ],
        3,
    )
    .expect_err("many mistakes");
    let text: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
    assert_eq!(
        text,
        [
            "unknown config \"retention.mss\"; the nearest known is \"retention.ms\"",
            "config \"compression.type\" is not supported: batches are stored as the producer compressed them; set it on \
             the producer",
            "config cleanup.policy=\"squeeze\" is not allowed: it must be delete or compact or compact,delete",
            "config min.cleanable.dirty.ratio=\"1.5\" is not allowed: it must be a decimal number from 0 to 1",
            "config segment.bytes=\"12\" is not allowed: it must lie between 65536 and 2147483647",
            "config segment.ms=\"soon\" is not allowed: it must be a whole number between 1000 and 9223372036854775807",
            "config unclean.leader.election.enable=\"yes\" is not allowed: it must be true or false",
            "config flush.ms is given more than once",
            "config min.insync.replicas=4 is above the replication factor 3",
        ]
    );
}

#[test]
fn durability_is_fixed_at_creation() {
    let before = create(&[("durability", "replicated")], 3).expect("fine");
    let same = set(&[("durability", "replicated"), ("retention.ms", "-1")]);
    let after = same
        .apply(Some(&before), 3, FeatureLevel::V1)
        .expect("says what holds");
    assert_eq!(
        (after.durability(), after.retention_ms()),
        (Durability::Replicated, None)
    );
    let other = set(&[("durability", "fsync")]).apply(Some(&before), 3, FeatureLevel::V1);
    assert_eq!(other, Err(vec![ConfigMistake::Immutable { key: "durability" }]));
    let unset = ConfigChange {
        set: Vec::new(),
        unset: vec!["durability".to_owned()],
    };
    assert_eq!(
        unset.apply(Some(&before), 3, FeatureLevel::V1),
        Err(vec![ConfigMistake::Immutable { key: "durability" }])
    );
}

#[test]
fn unset_puts_defaults_back_and_min_insync_stays_resolved() {
    let before = create(&[("min.insync.replicas", "1"), ("segment.ms", "60000")], 3).expect("fine");
    assert_eq!(before.min_insync_replicas(), 1);
    let unset = ConfigChange {
        set: Vec::new(),
        unset: vec!["min.insync.replicas".to_owned(), "segment.ms".to_owned()],
    };
    let after = unset.apply(Some(&before), 3, FeatureLevel::V1).expect("fine");
    assert_eq!(after.min_insync_replicas(), 2);
    assert!(after.is_set(ConfigKey::MinInsyncReplicas));
    assert!(!after.is_set(ConfigKey::SegmentMs));
    assert_eq!(after.segment_ms(), 604_800_000);
}

#[test]
fn entries_show_every_key_with_its_value() {
    let config = create(
        &[
            ("retention.ms", "-1"),
            ("message.timestamp.type", "LogAppendTime"),
        ],
        3,
    )
    .expect("fine");
    let entries = config.entries();
    assert_eq!(entries.len(), CONFIGS.len());
    let shown = |key: &str| {
        entries
            .iter()
            .find(|e| e.key == key)
            .map(|e| (e.value.as_str(), e.is_default))
    };
    assert_eq!(shown("retention.ms"), Some(("-1", false)));
    assert_eq!(shown("message.timestamp.type"), Some(("LogAppendTime", false)));
    assert_eq!(shown("durability"), Some(("fsync", true)));
    assert_eq!(shown("min.insync.replicas"), Some(("2", false)));
}

#[test]
fn what_is_displayed_parses_to_the_same_value() {
    let config = create(&[("durability", "replicated"), ("flush.bytes", "4096")], 3).expect("fine");
    let shown = config
        .entries()
        .into_iter()
        .map(|e| (e.key.to_owned(), e.value))
        .collect();
    let again = ConfigChange {
        set: shown,
        unset: Vec::new(),
    }
    .apply(None, 3, FeatureLevel::V1)
    .expect("fine");
    for spec in CONFIGS {
        assert_eq!(again.value(spec.key), config.value(spec.key), "{}", spec.name);
    }
}

#[test]
fn a_policy_is_a_list_in_whatever_order_and_a_ratio_a_decimal() {
    let policy = |text: &str| create(&[("cleanup.policy", text)], 1).map(|config| config.cleanup_policy());
    assert_eq!(policy("delete"), Ok(CleanupPolicy::Delete));
    assert_eq!(policy("compact"), Ok(CleanupPolicy::Compact));
    for both in ["compact,delete", "delete,compact", "delete, compact"] {
        let policy = policy(both).expect("both");
        assert!(policy.compacts() && policy.deletes());
    }
    assert!(policy("compact,compact").is_err());
    let ratio = |text: &str| {
        let config = create(&[("min.cleanable.dirty.ratio", text)], 1).ok()?;
        let shown = config
            .entries()
            .into_iter()
            .find(|entry| entry.key == "min.cleanable.dirty.ratio")?;
        Some((config.min_cleanable_dirty_ratio(), shown.value))
    };
    for (text, raw, shown) in [
        ("0", 0, "0.0"),
        ("1", 1_000_000, "1.0"),
        ("0.5", 500_000, "0.5"),
        ("0.000001", 1, "0.000001"),
        ("1.000", 1_000_000, "1.0"),
    ] {
        assert_eq!(ratio(text), Some((raw, shown.to_owned())), "{text}");
    }
    for bad in [
        "",
        ".5",
        "1.1",
        "-0.5",
        "0.5e1",
        "00.5",
        "0.1234567",
        "half",
        "1.",
        "0.+5",
    ] {
        assert_eq!(ratio(bad), None, "{bad}");
    }
}

/// A row of the first table of the page, as the code has it.
fn row(spec: &ConfigSpec) -> String {
    let show = |raw: i64| {
        if raw == i64::MAX {
            "no limit".to_owned()
        } else {
            raw.to_string()
        }
    };
    let (kind, default, allowed) = match spec.kind {
        ConfigKind::Integer { default, min, max } => {
            let default = default.map_or("see meaning".to_owned(), show);
            let allowed = if max == i64::MAX {
                format!("from {min}")
            } else {
                format!("{min} to {max}")
            };
            ("integer", default, allowed)
        }
        ConfigKind::Boolean { default } => ("boolean", default.to_string(), "true, false".to_owned()),
        ConfigKind::Ratio { default } => ("decimal", parse::display(spec, default), "0 to 1".to_owned()),
        ConfigKind::Word { words, default, .. } => ("word", words[default].to_owned(), words.join(", ")),
    };
    let changes = if spec.immutable { "no" } else { "yes" };
    format!(
        "| `{}` | {kind} | {default} | {allowed} | {changes} | {} |",
        spec.name, spec.meaning
    )
}

#[test]
fn the_page_for_people_says_what_the_code_does() {
    let page = include_str!("../../../../docs/topic-configs.md");
    let configs = CONFIGS.iter().map(row);
    let others = CONFIGS_NOT_HERE
        .iter()
        .map(|(name, instead)| format!("| `{name}` | {instead} |"));
    let wanted: Vec<String> = configs.chain(others).collect();
    let rows: Vec<&str> = page.lines().filter(|line| line.starts_with("| `")).collect();
    assert_eq!(
        rows,
        wanted,
        "docs/topic-configs.md should have\n{}",
        wanted.join("\n")
    );
}
