//! One hub per directory, and messages that say what to do.
#![allow(clippy::unwrap_used, reason = "a test that meets the unexpected fails")]

mod common;

use common::*;
use std::io::ErrorKind;
use tidings_log::{EmbeddedLog, OpenError};
use tidings_testkit::disk::{Call, Fault, SimDisk};

#[test]
fn a_second_hub_on_a_real_directory_is_told_who_has_it() {
    let dir = tempfile::tempdir().unwrap();
    let open = || EmbeddedLog::open_dir(dir.path(), TestClock::at(1), config());
    let first = open().unwrap();
    let error = open().err().unwrap();
    let message = error.to_string();
    assert!(matches!(error, OpenError::Locked { .. }));
    for part in [dir.path().to_str().unwrap(), &std::process::id().to_string(), "choose another directory"] {
        assert!(message.contains(part), "{message}");
    }
    drop(first);
    drop(open().unwrap());
}

#[test]
fn a_read_only_directory_says_what_to_do() {
    for kind in [ErrorKind::PermissionDenied, ErrorKind::ReadOnlyFilesystem] {
        let disk = SimDisk::seeded(1);
        disk.fail_lock(kind);
        let error = Manual::open(disk, &TestClock::at(1), config()).err().unwrap();
        assert!(matches!(error, OpenError::ReadOnly { .. }), "{error:?}");
        assert!(error.to_string().contains("make it writable"), "{error}");
    }
}

#[test]
fn a_disk_that_is_full_at_the_start_says_so() {
    let disk = SimDisk::seeded(1);
    disk.set_capacity(Some(10));
    let error = Manual::open(disk.clone(), &TestClock::at(1), config()).err().unwrap();
    assert!(matches!(error, OpenError::Full { .. }), "{error:?}");
    disk.set_capacity(None);
    Manual::open(disk, &TestClock::at(1), config()).unwrap().end();
}

#[test]
fn what_else_the_system_refuses_is_named_with_its_file() {
    let disk = SimDisk::seeded(1);
    disk.fail(Fault { call: Call::Sync, after: 0, kind: ErrorKind::Other });
    let error = Manual::open(disk, &TestClock::at(1), config()).err().unwrap();
    assert!(matches!(error, OpenError::Io { .. }) && error.to_string().contains("sim:META"), "{error}");
}

#[test]
fn a_file_where_the_directory_should_be_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("data");
    std::fs::write(&path, "a file").unwrap();
    let error = EmbeddedLog::open_dir(&path, TestClock::at(1), config()).err().unwrap();
    assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
}
