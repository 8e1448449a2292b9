//! Every mistake at once, with where it was made; layers; the documented file.

use super::*;
use quipu_storage::FlushMethod;

const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/quipu.toml");

fn load(file: &str, environment: &[(&str, &str)], flags: &[(&str, &str)]) -> Result<Config, String> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("quipu.toml");
    std::fs::write(&path, file).unwrap();
    let own = |pairs: &[(&str, &str)]| {
        pairs
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect()
    };
    let sources = Sources {
        file: Some(path),
        environment: own(environment),
        overrides: own(flags),
    };
    let shorten = |error: ConfigError| {
        error
            .to_string()
            .replace(&format!("{}/", dir.path().display()), "")
    };
    Config::load(&sources).map_err(shorten)
}

#[test]
fn nothing_configured_is_a_broker_on_loopback() {
    let config = load("", &[], &[]).unwrap();
    assert_eq!(config.listeners.len(), 1);
    assert_eq!(config.listeners[0].bind.to_string(), "127.0.0.1:4600");
    assert_eq!(config.http.bind.as_ref().unwrap().to_string(), "127.0.0.1:4602");
    assert_eq!(config.internal.bind.to_string(), "127.0.0.1:4601");
    assert_eq!(config.controllers.voters, []);
    assert_eq!(config.broker.id.get(), 0);
}

#[test]
fn flags_beat_the_environment_which_beats_the_file() {
    let file = "[broker]\nid = 1\nrack = \"a\"\n[storage]\nflush.method = \"syncfs\"";
    let environment = [("QUIPU_BROKER_ID", "2"), ("QUIPU_BROKER_RACK", "b")];
    let config = load(file, &environment, &[("broker.id", "3")]).unwrap();
    assert_eq!(config.broker.id.get(), 3);
    assert_eq!(config.broker.rack, "b");
    assert_eq!(config.storage.flush_method, FlushMethod::Syncfs);
}

#[test]
fn every_mistake_is_named_at_once_with_where_it_was_made() {
    let file = r#"
[broker]
id = "one"
roles = ["broker", "king"]
[storage]
flush.methd = "auto"
[listeners.client]
bind = "0.0.0.0:4600"
[listeners.tls]
protocol = "kafka"
[limits]
queue.bytes = "1MiB"
"#;
    let environment = [
        ("QUIPU_LOG_FORMAT", "xml"),
        ("QUIPU_BROKER_RAK", "a"),
        ("QUIPU_LOG", "inof"),
    ];
    let told = load(
        file,
        &environment,
        &[("http.bind", "here"), ("nonsense.key", "1"), ("limits.tail", "1")],
    )
    .unwrap_err();
    let expected = [
        "the configuration has 13 mistakes:",
        r#"quipu.toml:3: broker.id: "one" is not a whole number from 0 to 1000000, or ordinal (of POD_NAME)"#,
        r#"quipu.toml:4: broker.roles: "king" is not one of broker, controller"#,
        "flag limits.tail: there is no such key; did you mean limits.tail.bytes?",
        "quipu.toml:6: storage.flush.methd: there is no such key; did you mean storage.flush.method?",
        r#"quipu.toml:10: listeners.tls.protocol: "kafka" is not one of grpc"#,
        "environment QUIPU_BROKER_RAK: nothing reads this variable; did you mean QUIPU_BROKER_RACK?",
        r#"environment QUIPU_LOG: log.filter: "inof" is not a filter: a level (error,"#,
        r#"environment QUIPU_LOG_FORMAT: log.format: "xml" is not one of text, json"#,
        r#"flag http.bind: "here" is not host:port"#,
        "flag nonsense.key: there is no such key; docs/quipu.toml lists all",
        "quipu.toml:8: listeners.client.bind: 0.0.0.0:4600 is every interface",
        "quipu.toml:10: listeners.tls.protocol: listener tls does not say where it listens; set listeners.tls.bind",
        "quipu.toml:12: limits.queue.bytes: one stream may have 8388608 bytes waiting",
    ];
    for line in expected {
        assert!(told.contains(line), "{line}\nis missing in\n{told}");
    }
    assert_eq!(told.lines().count(), expected.len(), "{told}");
}

#[test]
fn a_file_that_is_not_toml_says_where_and_the_rest_is_still_checked() {
    let told = load(
        "[broker]\nid = = 1\nrack = \"a\n[http]\nbind = \"x\"\n",
        &[("QUIPU_LOG_FORMAT", "xml")],
        &[],
    )
    .unwrap_err();
    assert!(told.contains("quipu.toml:2: is not TOML"), "{told}");
    assert!(told.contains("quipu.toml:3: is not TOML"), "{told}");
    assert!(told.contains("log.format"), "{told}");
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let sources = Sources {
        file: Some("no/such/quipu.toml".into()),
        ..Sources::default()
    };
    let told = Config::load(&sources).unwrap_err().to_string();
    assert!(told.contains("no/such/quipu.toml:1: cannot be read"), "{told}");
}

#[test]
fn listeners_have_names_and_advertise_what_they_are_told() {
    let file = "[listeners.client]\nbind = \"127.0.0.1:0\"\n[listeners.far-away]\nbind = \"0.0.0.0:4610\"\n";
    let environment = [
        ("QUIPU_LISTENERS_FAR_AWAY_ADVERTISED", "broker-0.quipu:4610"),
        ("QUIPU_LISTENERS_CLIENT_BIND", "[::1]:0"),
    ];
    let config = load(file, &environment, &[]).unwrap();
    let [client, far] = &config.listeners[..] else {
        panic!("{:?}", config.listeners)
    };
    assert_eq!(
        (&*client.name, client.bind.to_string().as_str()),
        ("client", "[::1]:0")
    );
    assert_eq!(&*far.name, "far-away");
    assert_eq!(
        far.advertised.as_ref().unwrap().to_string(),
        "broker-0.quipu:4610"
    );
}

#[test]
fn two_listeners_cannot_share_a_port() {
    let file = "[listeners.client]\nbind = \"127.0.0.1:4602\"";
    let told = load(file, &[], &[]).unwrap_err();
    assert!(
        told.contains("http.bind: 127.0.0.1:4602 is taken by listeners.client.bind"),
        "{told}"
    );
    load(file, &[("QUIPU_HTTP_BIND", "off")], &[]).unwrap();
}

#[test]
fn a_clusters_mistakes_are_named() {
    let cluster = |internal: &str, roles: &str, voters: &str| {
        let file =
            format!("[internal]\n{internal}\n[broker]\nroles = {roles}\n[controllers]\nvoters = {voters}");
        load(&file, &[], &[])
    };
    let both = r#"["broker", "controller"]"#;
    let here = r#"bind = "127.0.0.1:4611""#;
    let config = cluster(here, both, r#"["127.0.0.1:4611", "127.0.0.1:4621"]"#).unwrap();
    assert_eq!(config.controllers.voters.len(), 2);
    // A broker that votes on nothing, and one whose others know it by another name.
    cluster(here, r#"["broker"]"#, r#"["127.0.0.1:4621"]"#).unwrap();
    let named = "bind = \"0.0.0.0:4601\"\nadvertised = \"quipu-0:4601\"";
    cluster(named, both, r#"["quipu-0:4601", "quipu-1:4601"]"#).unwrap();

    for (internal, roles, voters, told) in [
        (
            here,
            "[]",
            "[]",
            "quipu.toml:4: broker.roles: a process without a role does nothing",
        ),
        (
            here,
            r#"["broker"]"#,
            "[]",
            "broker.roles: a process that is no controller itself must know where they are",
        ),
        (
            here,
            both,
            r#"["127.0.0.1:4621"]"#,
            "controllers.voters: this process is a controller, and its internal address 127.0.0.1:4611",
        ),
        (
            here,
            both,
            r#"["127.0.0.1:4611", "127.0.0.1:4611"]"#,
            "quipu.toml:6: controllers.voters: 127.0.0.1:4611 stands there twice",
        ),
        (
            here,
            both,
            r#"["127.0.0.1:4611", "0.0.0.0:4611"]"#,
            "nobody can connect to 0.0.0.0:4611",
        ),
        (
            here,
            both,
            r#"["127.0.0.1:4611", "nowhere"]"#,
            "\"nowhere\" is not host:port",
        ),
        (
            r#"bind = "127.0.0.1:0""#,
            both,
            r#"["127.0.0.1:4611"]"#,
            "quipu.toml:2: internal.bind: port 0 is any port",
        ),
        (
            r#"bind = "0.0.0.0:4601""#,
            both,
            "[]",
            "0.0.0.0:4601 is every interface",
        ),
        (
            r#"bind = "127.0.0.1:4600""#,
            both,
            "[]",
            "internal.bind: 127.0.0.1:4600 is taken by listeners.client.bind",
        ),
    ] {
        let error = cluster(internal, roles, voters).unwrap_err();
        assert!(error.contains(told), "{told}\nis missing in\n{error}");
    }

    let told = load(
        "[listeners.internal]\nbind = \"127.0.0.1:4700\"\n[controllers]\nsession.timeout.ms = 1500\nraft.silence.ms = 599\n\
         [replication]\nlag.max.ms = 500",
        &[],
        &[],
    )
    .unwrap_err();
    for line in [
        "quipu.toml:2: listeners.internal.bind: this name is that of the listener between brokers",
        "quipu.toml:4: controllers.session.timeout.ms: a session of 1500 ms ends before two heartbeats",
        "quipu.toml:5: controllers.raft.silence.ms: a silence of 599 ms is shorter than 6 heartbeats of 100 ms",
        "quipu.toml:7: replication.lag.max.ms: a copy may wait 500 ms",
    ] {
        assert!(told.contains(line), "{line}\nis missing in\n{told}");
    }
}

#[test]
fn the_silence_that_is_borne_is_what_openraft_makes_of_the_timeouts() {
    for (text, min, max) in [
        ("", 300, 500),
        ("[controllers]\nraft.silence.ms = 1601", 600, 1001),
        (
            "[controllers]\nraft.silence.ms = 4001\nraft.heartbeat.ms = 600",
            1500,
            2501,
        ),
    ] {
        let controllers = load(text, &[], &[]).unwrap().controllers;
        let (least, most) = controllers.election_timeouts();
        // Others vote for nobody for the longer one; the first stands after the shorter one more.
        assert_eq!(least + most, controllers.raft_silence);
        assert_eq!((least.as_millis(), most.as_millis()), (min, max));
        let usual = quipu_controller::ControllerConfig::new(std::path::PathBuf::new());
        let same = (usual.election_timeout_min, usual.election_timeout_max) == (least, most);
        assert_eq!(
            same,
            text.is_empty(),
            "the defaults are those of the controller by itself"
        );
    }
}

#[test]
fn an_ordinal_comes_from_the_pods_name() {
    let file = "[broker]\nid = \"ordinal\"\nordinal.base = 100";
    assert_eq!(
        load(file, &[("POD_NAME", "quipu-2")], &[])
            .unwrap()
            .broker
            .id
            .get(),
        102
    );
    let told = load(file, &[("POD_NAME", "quipu")], &[]).unwrap_err();
    assert!(told.contains("POD_NAME"), "{told}");
}

#[test]
fn variables_of_others_are_left_alone() {
    let environment = [
        ("QUIPU_SERVICE_HOST", "10.0.0.1"),
        ("QUIPU_PORT", "tcp://10.0.0.1:4600"),
        ("QUIPU_HEADLESS_PORT_4600_TCP_ADDR", "10.0.0.1"),
        ("QUIPU_BOOTSTRAP", "127.0.0.1:4600"),
        ("QUIPU_TEST_SEED", "7"),
        ("PATH", "x"),
    ];
    load("", &environment, &[]).unwrap();
}

#[test]
fn topic_defaults_are_checked_as_a_topics_configs_are() {
    let file = "[topic.defaults]\nretention.ms = -1\nretention.byte = 5\n\"segment.bytes\" = 0";
    let told = load(file, &[("QUIPU_TOPIC_DEFAULTS_MIN_INSYNC_REPLICAS", "2")], &[]).unwrap_err();
    assert!(
        told.contains("quipu.toml:3: topic.defaults.retention.byte: unknown config"),
        "{told}"
    );
    assert!(
        told.contains("quipu.toml:4: topic.defaults.segment.bytes: config segment.bytes="),
        "{told}"
    );
    assert_eq!(told.lines().count(), 3, "{told}");

    let config = load(
        "[topic.defaults]\nretention.ms = -1",
        &[("QUIPU_TOPIC_DEFAULTS_SEGMENT_BYTES", "1048576")],
        &[],
    );
    let defaults = config.unwrap().topics.defaults;
    assert_eq!(defaults["retention.ms"], "-1");
    assert_eq!(defaults["segment.bytes"], "1048576");
}

#[test]
fn sizes_have_units_and_limits() {
    let config = load(
        "[limits]\nqueue.bytes = \"256MiB\"\ntail.bytes = 1048576",
        &[],
        &[],
    )
    .unwrap();
    assert_eq!(config.limits.queue_bytes, 256 << 20);
    assert_eq!(config.limits.tail_bytes, 1 << 20);
    for bad in [
        "\"256 MB\"",
        "-1",
        "1.5",
        "\"99999999999GiB\"",
        "true",
        "[1]",
        "99999999999999999999999",
    ] {
        let told = load(&format!("[limits]\nqueue.bytes = {bad}"), &[], &[]).unwrap_err();
        assert!(
            told.contains("quipu.toml:2: limits.queue.bytes:"),
            "{bad}: {told}"
        );
    }
}

/// The documented file with every commented setting in force.
fn uncommented(text: &str) -> String {
    let setting = |line: &str| {
        let rest = line.strip_prefix("# ")?;
        let (key, _) = rest.split_once(" = ")?;
        key.bytes()
            .all(|b| b.is_ascii_alphanumeric() || b".\"".contains(&b))
            .then(|| rest.to_owned())
    };
    let lines = text
        .lines()
        .map(|line| setting(line).unwrap_or_else(|| line.to_owned()));
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn the_documented_file_holds_every_key_and_the_defaults() {
    let text = std::fs::read_to_string(EXAMPLE).unwrap();
    assert_eq!(load(&text, &[], &[]).unwrap(), load("", &[], &[]).unwrap());

    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("all.toml");
    std::fs::write(&path, uncommented(&text)).unwrap();
    let mut reader = Reader::new(&Sources {
        file: Some(path),
        ..Sources::default()
    });
    Config::read(&mut reader).check(&mut reader);
    let missing: Vec<_> = reader.known().iter().filter(|key| !reader.is_set(key)).collect();
    assert!(missing.is_empty(), "docs/quipu.toml does not mention {missing:?}");
    reader.finish().unwrap();
}
