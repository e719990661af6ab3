//! The table of settings: each row is a flag, an environment variable, a TOML key, a line of the help and of the
//! man page, and a row of the reference. Nothing else says what a setting is called or defaults to.

use std::net::SocketAddr;
use std::path::PathBuf;

use tidings_hub::ports::Durability;
use tidings_log::OnDamage;
use tidings_server::{Descriptors, Overload};

use super::SettingsError;
use super::layers::{Layers, Setting};
use super::value::{
    Bounds, Bytes, Kind, LogFormat, Millis, SelectorList, Texts, Threads, TopicLimits, Value,
};

/// What is said of one setting.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    /// The TOML key: `segment_bytes`.
    pub(crate) key: &'static str,
    /// The heading it stands under.
    pub(crate) section: &'static str,
    /// How it is written.
    pub(crate) kind: Kind,
    /// As it would be written in the environment; empty: nothing.
    pub(crate) default: &'static str,
    /// What the number may be.
    pub(crate) bounds: Bounds,
    /// One or two sentences.
    pub(crate) help: &'static str,
}

impl Row {
    /// The flag without its dashes: `segment-bytes`.
    pub(crate) fn flag(&self) -> String {
        self.key.replace('_', "-")
    }

    /// The environment variable: `TIDINGS_SEGMENT_BYTES`.
    pub(crate) fn env(&self) -> String {
        format!("TIDINGS_{}", self.key.to_ascii_uppercase())
    }

    /// Whether it may stand in the file: the file cannot name itself.
    pub(crate) fn is_in_file(&self) -> bool {
        self.key != "config"
    }
}

macro_rules! settings {
    ($($section:literal { $(
        $key:ident: $type:ty = $default:literal $(in $min:tt to $max:tt)?, $help:literal;
    )+ })+) => {
        /// All rows, in the order of the help.
        pub(crate) const ROWS: &[Row] = &[$($(
            Row {
                key: stringify!($key),
                section: $section,
                kind: <$type as Value>::KIND,
                default: $default,
                bounds: settings!(@bounds $($min to $max)?),
                help: $help,
            },
        )+)+];

        /// Every setting with its value and where that came from.
        #[derive(Clone, Debug)]
        pub(crate) struct Settings {
            $($(
                #[doc = $help]
                pub(crate) $key: Setting<$type>,
            )+)+
        }

        impl Settings {
            /// Reads every setting from the topmost layer that has it.
            ///
            /// # Errors
            /// [`SettingsError::Invalid`] names the setting, where it was given, and how to write it.
            pub(super) fn read(layers: &Layers) -> Result<Self, SettingsError> {
                Ok(Self { $($(
                    $key: layers.read(stringify!($key))?,
                )+)+ })
            }

            /// Each row with its value as it was written, and where.
            pub(crate) fn written(&self) -> Vec<(&'static str, String, String)> {
                vec![$($(
                    (stringify!($key), self.$key.text.clone(), self.$key.origin.to_string()),
                )+)+]
            }
        }
    };
    (@bounds) => { Bounds::ANY };
    (@bounds $min:tt to $max:tt) => { Bounds { min: $min, max: $max } };
}

/// The row with this key.
pub(crate) fn row(key: &str) -> Option<&'static Row> {
    ROWS.iter().find(|row| row.key == key)
}

const SECOND: u64 = 1_000;
const DAY: u64 = 86_400_000;
const YEARS: u64 = 36_500 * DAY;
const SEGMENT_BYTES_MIN: u64 = 64 << 10;
const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const TIB: u64 = 1 << 40;
/// One write of the log holds a whole event, and is at most twice this.
const EVENT_BYTES: u64 = 128 << 20;
const MANY: u64 = 100_000_000;
const MOST: u64 = 1_000_000_000_000;

settings! {
    "Listeners" {
        listen: Vec<SocketAddr> = "127.0.0.1:4000",
            "Where clients connect. Port 0 takes a free one. Any address but loopback needs a policy: keys, or one of the anonymous settings.";
        admin: Option<SocketAddr> = "127.0.0.1:4001",
            "Where the console, health, readiness and metrics are, always plain HTTP; `none`: nowhere.";
        config: Option<PathBuf> = "",
            "A TOML file with settings and keys. Flags and environment variables win over it.";
    }
    "Storage" {
        data: PathBuf = "./tidings-data",
            "The directory of the log. One hub at a time uses it.";
        durability: Durability = "fsync",
            "What an answered publish survives. `fsync`: loss of power; `os`: the end of the process; `memory`: nothing, and no directory is used.";
        segment_bytes: Bytes = "64MiB" in SEGMENT_BYTES_MIN to GIB,
            "Length of a segment file. History is removed in whole segments, so by default they are at most an eighth of retention_bytes.";
        retention_age: Option<Millis> = "none" in SECOND to YEARS,
            "How long events are kept at least; `none`: as long as retention_bytes allows.";
        retention_bytes: Option<Bytes> = "8GiB" in MIB to TIB,
            "How large all segments together may grow before the oldest is removed; `none`: until the disk is full.";
        retention_count: Option<u64> = "none" in 1 to MOST,
            "How many events are kept at least, of all topics together; `none`: as many as the other limits allow.";
        retention_keep_last: bool = "false",
            "Keep the newest event of every topic, whatever limit it is past, so that `from=last` always finds it. A `tidings.tombstone` event or a deletion ends that.";
        topic_retention: TopicLimits = "",
            "What is kept of some topics, as in `scores/** age=2h count=100 keep_last`. The first that matches counts; what a topic declares itself comes before it.";
        erase_after: Millis = "12h" in SECOND to YEARS,
            "For how long what is deleted or past its limits may still take space before its segment is written anew without it. Segments that are dead for more than half do not wait.";
        memory_bytes: Bytes = "64MiB" in MIB to TIB,
            "How much history is kept with `durability = memory`.";
        idempotency_age: Millis = "24h" in SECOND to YEARS,
            "For how long a repeated Idempotency-Key or producer is known after it was last used.";
        idempotency_keys: usize = "1000000" in 1 to MANY,
            "How many of them are known at once, at 72 bytes of memory each; what was not used for the longest is forgotten first.";
        ephemeral: SelectorList = "",
            "Topics whose events are never stored, only delivered to whoever listens.";
        on_damage: OnDamage = "refuse",
            "What a start does about damaged files. `refuse`: it says where, and ends; `cut`: the log ends before the damage, the rest is set aside.";
        restored: bool = "false",
            "Set it once after the data directory was restored from a backup: positions given out since then must not come to mean other events.";
    }
    "Limits" {
        hot_log_bytes: Bytes = "64MiB" in MIB to TIB,
            "Memory for the newest events, from which live subscribers are served.";
        event_bytes_max: Bytes = "1MiB" in 1 to EVENT_BYTES,
            "The largest event. At most a quarter of hot_log_bytes.";
        body_bytes_max: Bytes = "8MiB" in KIB to GIB,
            "The largest body of an atomic publish or of a JSON request. Streamed bodies have no limit.";
        subscribers_max: usize = "100000" in 1 to MANY,
            "Open streams at once. Unless it is set, lowered at the start so that connections are left to say no.";
        connections_max: usize = "110000" in 1 to MANY,
            "Open connections at once, lowered at the start to what the system's limit on descriptors allows.";
    }
    "Streams" {
        heartbeat: Millis = "30s" in 0 to DAY,
            "Silence after which a stream is sent a few bytes, so that nobody on the way takes it for dead; `0`: never.";
        retry: Millis = "2s" in 0 to DAY,
            "How long a client waits before it reconnects, as told to every stream; the more streams are open, up to twice as long, so that not all come back at once.";
        lag_bytes_max: Bytes = "0" in 0 to TIB,
            "A stream that is behind by more bytes of the log, over all topics, is ended and comes back; `0`: never. One that fell out of the memory of `hot_log_bytes` is behind by more than any number.";
        lag_max: Millis = "0" in 0 to DAY,
            "A stream that lacks an event for longer is ended and comes back; `0`: never. History that a stream asked for does not count.";
        overload: Overload = "eventsource",
            "What a full hub answers to an EventSource, which gives up for good when it meets a 5xx. `eventsource`: 200 and come back later; `503`: the status.";
        reactors: Threads = "cores" in 0 to 1024,
            "Threads that deliver to plain HTTP/1.1 connections: `cores`, or a number. `0`: none, they are served as TLS and HTTP/2 are. Linux only.";
        reactor_descriptors: Descriptors = "shared",
            "`shared`: the system's limit on descriptors holds for all connections together. `own`: each reactor has a table of its own and the limit for itself, where the limit cannot be raised and a million streams are wanted; needs as many reactors as that takes.";
        drain: Millis = "5s" in 0 to DAY,
            "Over how long a shutdown spreads the ends of open streams.";
    }
    "TLS" {
        tls_cert: Option<PathBuf> = "",
            "A PEM file with the certificate and its chain. Needs tls_key.";
        tls_key: Option<PathBuf> = "",
            "A PEM file with the private key. Needs tls_cert.";
        tls_self_signed: bool = "false",
            "Serve TLS with a certificate made here, for development. It is kept in the data directory.";
    }
    "Access" {
        hosts: Texts = "",
            "Names this hub is reached under beside localhost and IP addresses: `hub.example.com`, `*.example.com`, `*` for any.";
        cors_origins: Texts = "",
            "Origins whose pages may use this hub with credentials beside those of loopback: `https://app.example.com`; `*` lets any page read what everybody may.";
        anonymous_publish: SelectorList = "",
            "Topics that everybody may publish to. While no anonymous setting and no key is given, everything; otherwise nothing.";
        anonymous_subscribe: SelectorList = "",
            "Topics that everybody may read, private events excluded. Default as for anonymous_publish.";
        anonymous_manage: SelectorList = "",
            "Topics that everybody may configure, close and delete. Default as for anonymous_publish.";
    }
    "Logging" {
        log_level: String = "info",
            "`error`, `warn`, `info`, `debug`, `trace` or `off`, also per part: `info,tidings_server=debug`.";
        log_format: LogFormat = "text",
            "How log lines are written to standard error.";
    }
}
