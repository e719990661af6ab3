//! Settings from all layers: who wins, what is refused, and how the refusal reads.

use super::*;

/// Loads with flags, variables and the text of a file, and gives what `pick` takes out of it, or the message.
fn load_with<T>(
    flags: &[(&str, &str)],
    variables: &[(&str, &str)],
    file: &str,
    pick: impl Fn(&Configuration) -> T,
) -> Result<T, String> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("hub.toml");
    std::fs::write(&path, file).unwrap();
    let mut given: Vec<(&'static Row, Vec<String>)> = Vec::new();
    for (flag, value) in flags {
        let row = ROWS.iter().find(|row| row.flag() == *flag).unwrap();
        given.push((row, vec![(*value).to_owned()]));
    }
    given.push((table::row("config").unwrap(), vec![path.display().to_string()]));
    let variables: Vec<_> = variables.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
    let loaded = load(&given, &variables, &[("retention_bytes", "1GiB")]);
    let hide = |error: SettingsError| error.to_string().replace(&path.display().to_string(), "hub.toml");
    loaded.map(|configuration| pick(&configuration)).map_err(hide)
}

fn refused(flags: &[(&str, &str)], variables: &[(&str, &str)], file: &str) -> String {
    load_with(flags, variables, file, |_| ()).expect_err("it should be refused")
}

#[test]
fn every_default_can_be_read_and_is_the_libraries_own() {
    let settings = load(&[], &[], &[]).unwrap().settings;
    assert!(settings.written().iter().all(|(_, _, origin)| origin == "default"));

    let limits = tidings_hub::Limits::default();
    assert_eq!(settings.hot_log_bytes.value.as_usize(), limits.hot_log_bytes);
    assert_eq!(settings.event_bytes_max.value.as_usize(), limits.event_bytes_max);
    assert_eq!(settings.subscribers_max.value, limits.subscribers_max);
    assert_eq!(settings.heartbeat.value.0, limits.heartbeat_ms);
    assert_eq!(settings.retry.value.0, limits.retry_ms);
    assert_eq!(settings.lag_bytes_max.value.as_usize(), limits.lag_bytes_max);
    assert_eq!(settings.lag_max.value.0, limits.lag_ms_max);

    let server = tidings_server::ServerConfig::default();
    assert_eq!(settings.listen.value, server.listen);
    assert_eq!(settings.admin.value, server.admin);
    assert_eq!(settings.overload.value, server.overload);
    assert_eq!(settings.drain.value.0, server.drain_ms);
    assert_eq!(settings.connections_max.value, server.connections_max);
    assert_eq!(settings.body_bytes_max.value.as_usize(), server.body_bytes_max);

    let log = tidings_log::LogConfig::default();
    assert_eq!(settings.durability.value, log.durability);
    assert_eq!(settings.segment_bytes.value.0, log.segment_bytes);
    assert_eq!(settings.retention_age.value.map(|age| age.0), log.retention_age_ms);
    assert_eq!(settings.retention_bytes.value.map(|bytes| bytes.0), log.retention_bytes);
    assert_eq!(settings.retention_count.value, log.retention_count);
    assert_eq!(settings.retention_keep_last.value, log.retention_keep_last);
    assert_eq!(settings.topic_retention.value.0, log.topic_retention);
    assert_eq!(settings.erase_after.value.0, log.erase_after_ms);
    assert_eq!(settings.memory_bytes.value.as_usize(), log.memory_bytes);
    assert_eq!(settings.idempotency_age.value.0, log.key_window.age_ms);
    assert_eq!(settings.idempotency_keys.value, log.key_window.count);
    assert_eq!(settings.on_damage.value, log.on_damage);
    assert_eq!(settings.restored.value, log.restored);
}

#[test]
fn flag_wins_over_variable_over_file_over_default() {
    let heartbeat = |configuration: &Configuration| {
        let setting = &configuration.settings.heartbeat;
        (setting.value.0, setting.origin.to_string())
    };
    let check = |flags: &[(&str, &str)], variables: &[(&str, &str)], file: &str, ms: u64, origin: &str| {
        let (value, from) = load_with(flags, variables, file, heartbeat).unwrap();
        assert_eq!((value, from.ends_with(origin)), (ms, true), "{from} should end with {origin}");
    };
    let (flag, variable, file) =
        ([("heartbeat", "1s")], [("TIDINGS_HEARTBEAT", "2s")], "\nheartbeat = \"3s\"\n");
    check(&flag, &variable, file, 1_000, "--heartbeat");
    check(&[], &variable, file, 2_000, "TIDINGS_HEARTBEAT");
    check(&[], &[], file, 3_000, "hub.toml:2");
    check(&[], &[], "", 30_000, "default");
    let bytes = load_with(&[], &[], "", |c| c.settings.retention_bytes.value.map(|b| b.0)).unwrap();
    assert_eq!(bytes, Some(1 << 30), "a command's own default wins over the table's");
}

#[test]
fn lists_are_split_in_flags_and_variables_and_taken_whole_in_the_file() {
    let listen =
        |c: &Configuration| c.settings.listen.value.iter().map(ToString::to_string).collect::<Vec<_>>();
    let both = ["127.0.0.1:1".to_owned(), "[::1]:2".to_owned()];
    assert_eq!(load_with(&[("listen", "localhost:1, [::1]:2")], &[], "", listen).unwrap(), both);
    assert_eq!(load_with(&[], &[], "listen = [\"localhost:1\", \"[::1]:2\"]", listen).unwrap(), both);

    let selectors = |c: &Configuration| c.settings.anonymous_subscribe.value.texts();
    let file = "anonymous_subscribe = [\"a,b\", \"c/**\"]";
    assert_eq!(load_with(&[], &[], file, selectors).unwrap(), ["a,b", "c/**"]);
    assert_eq!(load_with(&[("anonymous-subscribe", "a,c/**")], &[], file, selectors).unwrap(), ["a", "c/**"]);
    let nobody = |c: &Configuration| {
        let setting = &c.settings.anonymous_publish;
        (setting.value.0.is_empty(), setting.origin.is_explicit())
    };
    assert_eq!(load_with(&[("anonymous-publish", "")], &[], "", nobody).unwrap(), (true, true));
}

#[test]
fn unknown_names_are_refused_with_the_nearest_right_one() {
    for (file, message) in [
        ("\n\nheart_beat = 1", "hub.toml:3: there is no setting \"heart_beat\"; did you mean heartbeat?"),
        (
            "segment-bytes = 1",
            "hub.toml:1: there is no setting \"segment-bytes\"; did you mean segment_bytes?",
        ),
        ("xyz = 1", "hub.toml:1: there is no setting \"xyz\"; `tidings settings` lists all there are"),
        (
            "config = 'a'",
            "hub.toml:1: there is no setting \"config\"; `tidings settings` lists all there are",
        ),
        ("key = 1", "hub.toml:1: there is no setting \"key\"; did you mean keys?"),
        (
            "[[keys]]\nname='a'\nhash='b'\npublishes=[]",
            "hub.toml:4: there is no setting \"keys.publishes\"; did you mean publish?",
        ),
    ] {
        assert_eq!(refused(&[], &[], file), message);
    }
    assert_eq!(
        refused(&[], &[("TIDINGS_LISTN", "x")], ""),
        "the environment variable TIDINGS_LISTN is no setting; did you mean TIDINGS_LISTEN?"
    );
    assert_eq!(
        refused(&[], &[("TIDINGS_WOW", "x")], ""),
        "the environment variable TIDINGS_WOW is no setting; `tidings settings` lists all there are"
    );
}

#[test]
fn variables_of_others_are_left_alone() {
    for name in ["TIDINGS_URL", "TIDINGS_SERVICE_HOST", "TIDINGS_PORT_4000_TCP", "TIDINGS_PORT", "PATH"] {
        load_with(&[], &[(name, "tcp://10.0.0.1:4000")], "", |_| ()).unwrap();
    }
}

#[test]
fn wrong_values_are_refused_with_place_and_cure() {
    let check = |flags: &[(&str, &str)], variables: &[(&str, &str)], file: &str, message: &str| {
        assert_eq!(refused(flags, variables, file), message);
    };
    check(
        &[("heartbeat", "30")],
        &[],
        "",
        "--heartbeat \"30\": a duration is a number and a unit: 500ms, 30s, 5m, 12h or 7d",
    );
    check(&[("heartbeat", "2d")], &[], "", "--heartbeat \"2d\": it must be from 0 to 1d");
    check(&[("subscribers-max", "0")], &[], "", "--subscribers-max \"0\": it must be from 1 to 100000000");
    check(
        &[],
        &[("TIDINGS_SEGMENT_BYTES", "1MB")],
        "",
        "TIDINGS_SEGMENT_BYTES=\"1MB\": a size is a number of bytes, or a number with KiB, MiB, GiB or TiB: 64MiB",
    );
    check(
        &[],
        &[],
        "retry = \"1s\"\noverload = 200",
        "hub.toml:2: overload = \"200\": it must be eventsource or 503",
    );
    check(&[], &[], "data = [\"a\"]", "hub.toml:1: a array cannot be the value of this setting");
    check(&[], &[], "ephemeral = [\"a{b}\"]", &refused(&[], &[], "ephemeral = [\"a{b}\"]"));
    assert!(refused(&[], &[], "ephemeral = [\"a{b}\"]").contains("'{' at byte 1"));
    assert!(
        refused(&[("listen", "example.com:80")], &[], "")
            .starts_with("--listen \"example.com:80\": an address is")
    );
    assert!(refused(&[], &[], "listen = ").starts_with("hub.toml:1: "));
    assert!(refused(&[], &[], "retry = \"1s\"\nretry = \"2s\"").starts_with("hub.toml:2: "));
}

#[test]
fn settings_that_contradict_each_other_are_refused() {
    assert_eq!(refused(&[("tls-cert", "a.pem")], &[], ""), "--tls-cert needs tls_key beside it");
    let both = [("tls-cert", "a.pem"), ("tls-key", "b.pem"), ("tls-self-signed", "true")];
    assert_eq!(refused(&both, &[], ""), "--tls-cert and --tls-self-signed: choose one certificate");
    assert_eq!(
        refused(&[("event-bytes-max", "32MiB")], &[], ""),
        "event_bytes_max (32MiB) must be at most a quarter of hot_log_bytes (64MiB)"
    );
}

#[test]
fn keys_are_read_and_checked() {
    let file = "[[keys]]\nname = \"a\"\nhash = \"sha256:00\"\npublish = [\"x/**\"]\nsubscribe = \"y\"\n";
    let keys = load_with(&[], &[], file, |c| c.keys.clone()).unwrap();
    assert_eq!(keys.len(), 1);
    assert_eq!((keys[0].name.as_str(), keys[0].hash.as_str()), ("a", "sha256:00"));
    assert_eq!((keys[0].publish.clone(), keys[0].subscribe.clone()), (vec!["x/**".into()], vec!["y".into()]));

    for (file, message) in [
        (
            "keys = 1",
            "hub.toml:1: keys are written as [[keys]] tables, each with name, hash, publish, subscribe, manage",
        ),
        (
            "retry = \"1s\"\n[[keys]]\nname = \"a\"",
            "hub.toml:2: this key has no hash; `tidings key new` makes a key and prints its table",
        ),
    ] {
        assert_eq!(refused(&[], &[], file), message);
    }
    let bad = "[[keys]]\nname = \"a\"\nhash = \"h\"\npublish = [\"a\",\n\"{b}\"]";
    assert!(refused(&[], &[], bad).starts_with("hub.toml:4: \"{b}\": "));
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let row = table::row("config").unwrap();
    let error = load(&[(row, vec!["no/such/file.toml".to_owned()])], &[], &[]).unwrap_err();
    assert!(error.to_string().starts_with("the configuration file no/such/file.toml cannot be read: "));
}

#[test]
fn every_row_stands_in_the_reference_once_with_its_default() {
    let page = reference::markdown();
    for row in ROWS {
        assert_eq!(page.matches(&format!("| `--{}`", row.flag())).count(), 1, "{}", row.key);
        assert!(row.help.ends_with('.') && !row.help.contains('|'), "{}", row.key);
    }
}

/// Run `cargo run -p tidings -- settings --markdown > docs/src/reference/settings.md` when this fails.
#[test]
fn the_page_in_the_documentation_is_the_table() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/src/reference/settings.md");
    let page = std::fs::read_to_string(path).expect("docs/src/reference/settings.md");
    assert_eq!(page, reference::markdown(), "`tidings settings --markdown` says otherwise");
}

#[test]
fn limits_of_topics_are_texts_or_tables() {
    let limits = |flags: &[(&str, &str)], file: &str| {
        let read = load_with(flags, &[], file, |c| c.settings.topic_retention.value.0.clone()).unwrap();
        let show = |(selector, r): &(tidings_hub::Selector, tidings_hub::Retention)| {
            format!("{selector} {:?} {:?} {:?} {}", r.age_ms, r.bytes, r.count, r.keep_last)
        };
        read.iter().map(show).collect::<Vec<_>>()
    };
    let expected = ["scores/** Some(7200000) None Some(100) true", "b c Some(5000) Some(1024) None false"];
    let flag = [("topic-retention", "scores/** age=2h count=100 keep_last, b c bytes=1KiB age=5s")];
    assert_eq!(limits(&flag, ""), expected);
    let file = "topic_retention = [\"scores/** count=100 keep_last=true age=2h\", \"b c age=5s bytes=1024\"]";
    assert_eq!(limits(&[], file), expected);
    let table = |topics: &str, rest: &str| format!("[[topic_retention]]\ntopics = {topics}\n{rest}\n");
    let first = table("[\"scores/**\"]", "age = \"2h\"\ncount = 100\nkeep_last = true");
    assert_eq!(limits(&[], &(first + &table("\"b c\"", "age = \"5s\"\nbytes = 1024"))), expected);
    assert_eq!(limits(&[], &table("[\"a\", \"b\"]", "keep_last = true")).len(), 2);

    for (text, part) in [
        ("a", "says nothing of what is kept"),
        ("a age=2", "a duration is a number and a unit"),
        ("a count=0", "more than nothing"),
        ("a count=many", "a whole number is needed"),
        ("a{ keep_last", "\"a{\""),
        ("keep_last", "says nothing"),
    ] {
        let message = refused(&[("topic-retention", text)], &[], "");
        assert!(message.contains(part), "{text}: {message}");
    }
    for (file, part) in [
        (table("\"a\"", "ages = \"2h\""), "topic_retention.ages"),
        (table("\"a\"", "count = 0"), "more than nothing"),
        ("[[topic_retention]]\nage = \"2h\"".to_owned(), "has no topics"),
    ] {
        let message = refused(&[], &[], &file);
        assert!(message.contains(part), "{file}: {message}");
    }
}
