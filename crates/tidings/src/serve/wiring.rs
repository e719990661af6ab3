//! From settings to what the log, the hub and the server are told. Nothing is decided here but who gets what.

use tidings_hub::keys::KeyWindow;
use tidings_hub::ports::Durability;
use tidings_hub::{Limits, Selectors};
use tidings_log::LogConfig;
use tidings_server::config::ShownSetting;
use tidings_server::gate::AnonymousConfig;
use tidings_server::{GateConfig, ServerConfig, TlsConfig, connections_available};

use crate::settings::{Configuration, ROWS, Settings};

/// Room for the other fields of the largest event in a batch of the log.
const FIELDS_BYTES: usize = 64 << 10;

/// What an exposed hub needs, in flags.
pub(super) const EXPOSED_ADVICE: &str = "For example --anonymous-subscribe '**' lets everybody read and nobody write; \
     `tidings key new` makes a key for the file that --config names";

/// The hub's limits.
pub(super) fn limits(settings: &Settings) -> Limits {
    Limits {
        hot_log_bytes: settings.hot_log_bytes.value.as_usize(),
        event_bytes_max: settings.event_bytes_max.value.as_usize(),
        subscribers_max: subscribers_max(settings),
        heartbeat_ms: settings.heartbeat.value.0,
        retry_ms: settings.retry.value.0,
        lag_bytes_max: settings.lag_bytes_max.value.as_usize(),
        lag_ms_max: settings.lag_max.value.0,
        ..Limits::default()
    }
}

/// As many as was asked for; where nobody asked, no more than there are descriptors for, with room left to turn
/// others away.
fn subscribers_max(settings: &Settings) -> usize {
    let wanted = settings.subscribers_max.value;
    if settings.subscribers_max.origin.is_explicit() {
        return wanted;
    }
    let (descriptors, reactors) = (settings.reactor_descriptors.value, settings.reactors.value.count());
    let tables = descriptors.tables(reactors, tls(settings).is_some());
    let connections = connections_available(settings.connections_max.value, tables);
    wanted.min(connections - connections / 16)
}

/// Topics that are never stored.
pub(super) fn ephemeral(settings: &Settings) -> Selectors {
    Selectors::new(settings.ephemeral.value.0.clone())
}

/// The log, on disk or in memory.
pub(super) fn log(settings: &Settings) -> LogConfig {
    let defaults = LogConfig::default();
    let event_bytes = settings.event_bytes_max.value.as_usize().saturating_add(FIELDS_BYTES);
    let batch_bytes_max = defaults.batch_bytes_max.max(event_bytes);
    LogConfig {
        durability: settings.durability.value,
        segment_bytes: segment_bytes(settings),
        batch_bytes_max,
        retention_age_ms: settings.retention_age.value.map(|age| age.0),
        retention_bytes: settings.retention_bytes.value.map(|bytes| bytes.0),
        retention_count: settings.retention_count.value,
        retention_keep_last: settings.retention_keep_last.value,
        topic_retention: settings.topic_retention.value.0.clone(),
        erase_after_ms: settings.erase_after.value.0,
        key_window: key_window(settings),
        // The largest event must be able to wait for the writer, and another behind it.
        submit_queue_bytes: defaults.submit_queue_bytes.max(batch_bytes_max.saturating_mul(2)),
        memory_bytes: settings.memory_bytes.value.as_usize(),
        on_damage: settings.on_damage.value,
        restored: settings.restored.value,
        ..defaults
    }
}

/// History goes in whole segments, so a small history needs small ones, unless somebody said otherwise.
fn segment_bytes(settings: &Settings) -> u64 {
    const SEGMENTS: u64 = 8;
    const BYTES_MIN: u64 = 64 << 10;
    let asked = &settings.segment_bytes;
    match settings.retention_bytes.value {
        Some(bytes) if !asked.origin.is_explicit() => asked.value.0.min((bytes.0 / SEGMENTS).max(BYTES_MIN)),
        _ => asked.value.0,
    }
}

fn key_window(settings: &Settings) -> KeyWindow {
    KeyWindow { age_ms: settings.idempotency_age.value.0, count: settings.idempotency_keys.value }
}

/// The server.
pub(super) fn server(configuration: &Configuration) -> ServerConfig {
    let settings = &configuration.settings;
    ServerConfig {
        listen: settings.listen.value.clone(),
        admin: settings.admin.value,
        tls: tls(settings),
        gate: gate(configuration),
        overload: settings.overload.value,
        drain_ms: settings.drain.value.0,
        reactors: settings.reactors.value.count(),
        reactor_descriptors: settings.reactor_descriptors.value,
        connections_max: settings.connections_max.value,
        body_bytes_max: settings.body_bytes_max.value.as_usize(),
        key_window: key_window(settings),
        shown: shown(configuration),
        ..ServerConfig::default()
    }
}

/// What the console shows. Of keys only their names: what is in the file is a hash, and even that is nobody's business.
fn shown(configuration: &Configuration) -> Vec<ShownSetting> {
    let written = configuration.settings.written();
    let mut shown: Vec<_> = ROWS
        .iter()
        .zip(written)
        .map(|(row, (key, value, origin))| ShownSetting {
            key: key.to_owned(),
            section: row.section.to_owned(),
            value,
            origin,
            help: row.help.to_owned(),
        })
        .collect();
    let names: Vec<_> = configuration.keys.iter().map(|key| key.name.as_str()).collect();
    shown.push(ShownSetting {
        key: "keys".to_owned(),
        section: "Access".to_owned(),
        value: names.join(", "),
        origin: configuration
            .settings
            .config
            .value
            .as_ref()
            .filter(|_| !names.is_empty())
            .map_or_else(|| "default".to_owned(), |path| path.display().to_string()),
        help: "Names of the keys that the file gives.".to_owned(),
    });
    shown
}

fn tls(settings: &Settings) -> Option<TlsConfig> {
    if let (Some(cert), Some(key)) = (&settings.tls_cert.value, &settings.tls_key.value) {
        return Some(TlsConfig::Files { cert: cert.clone(), key: key.clone() });
    }
    settings.tls_self_signed.value.then(|| TlsConfig::SelfSigned {
        // A wildcard is no name that a certificate made here could be asked for.
        hosts: settings.hosts.value.iter().filter(|host| !host.contains('*')).cloned().collect(),
        dir: (settings.durability.value != Durability::Memory).then(|| settings.data.value.join("tls")),
    })
}

fn gate(configuration: &Configuration) -> GateConfig {
    let settings = &configuration.settings;
    let Settings { anonymous_publish, anonymous_subscribe, anonymous_manage, .. } = settings;
    let is_policy =
        [anonymous_publish, anonymous_subscribe, anonymous_manage].iter().any(|set| set.origin.is_explicit());
    GateConfig {
        keys: configuration.keys.clone(),
        anonymous: is_policy.then(|| AnonymousConfig {
            publish: anonymous_publish.value.texts(),
            subscribe: anonymous_subscribe.value.texts(),
            manage: anonymous_manage.value.texts(),
        }),
        hosts: settings.hosts.value.clone(),
        origins: settings.cors_origins.value.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::load;

    fn configuration(flags: &[(&str, &str)]) -> Configuration {
        let row = |flag: &str| ROWS.iter().find(|row| row.flag() == flag).unwrap();
        let flags: Vec<_> = flags.iter().map(|(flag, text)| (row(flag), vec![(*text).to_owned()])).collect();
        load(&flags, &[], &[]).unwrap()
    }

    #[test]
    fn one_anonymous_setting_makes_a_policy_of_all_three() {
        assert_eq!(gate(&configuration(&[])).anonymous, None);
        let gate = gate(&configuration(&[("anonymous-subscribe", "news/**")]));
        let expected = AnonymousConfig { subscribe: vec!["news/**".into()], ..AnonymousConfig::default() };
        assert_eq!(gate.anonymous, Some(expected));
    }

    #[test]
    fn the_largest_event_fits_through_the_log() {
        let large = configuration(&[("event-bytes-max", "100MiB"), ("hot-log-bytes", "400MiB")]);
        let log = log(&large.settings);
        assert!(log.batch_bytes_max > 100 << 20);
        assert!(log.submit_queue_bytes > log.batch_bytes_max);
    }

    #[test]
    fn a_small_history_has_small_segments_unless_somebody_said_otherwise() {
        let check = |flags: &[(&str, &str)], bytes: u64| {
            assert_eq!(segment_bytes(&configuration(flags).settings), bytes, "{flags:?}");
        };
        check(&[], 64 << 20);
        check(&[("retention-bytes", "32MiB")], 4 << 20);
        check(&[("retention-bytes", "1MiB")], 128 << 10);
        check(&[("retention-bytes", "none")], 64 << 20);
        check(&[("retention-bytes", "32MiB"), ("segment-bytes", "64MiB")], 64 << 20);
    }

    #[test]
    fn defaults_are_the_libraries_own() {
        let defaults = configuration(&[]);
        let expected = Limits { subscribers_max: subscribers_max(&defaults.settings), ..Limits::default() };
        assert_eq!(limits(&defaults.settings), expected);
        assert_eq!(tls(&defaults.settings), None);
        let signed = configuration(&[("tls-self-signed", "true"), ("hosts", "a.example,*.b.example")]);
        let Some(TlsConfig::SelfSigned { hosts, dir }) = tls(&signed.settings) else { panic!("no TLS") };
        assert_eq!(hosts, ["a.example"]);
        assert!(dir.is_some_and(|dir| dir.ends_with("tls")));
    }

    #[test]
    fn unasked_there_are_fewer_streams_than_connections() {
        let few = configuration(&[("connections-max", "160")]);
        assert_eq!(subscribers_max(&few.settings), 150);
        let asked = configuration(&[("connections-max", "160"), ("subscribers-max", "5000")]);
        assert_eq!(
            subscribers_max(&asked.settings),
            5_000,
            "what was asked for counts, and the server warns"
        );
    }
}
