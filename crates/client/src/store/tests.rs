//! Files as they are found: whole, absent, torn, not ours; and as they are written.

use super::*;

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

fn id(text: &str) -> EventId {
    EventId::parse(text).unwrap()
}

#[test]
fn what_was_saved_is_loaded_by_the_next_life_whatever_the_id() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("last");
    for durability in [Durability::PowerLoss, Durability::Process] {
        let store = || FileStore::new(&path).durability(durability);
        for text in ["7", "", "ü…1\u{1}\t", " spaces ", HEAD.trim_end(), &"x".repeat(1 << 20)] {
            run(store().save(&id(text))).unwrap();
            assert_eq!(run(store().load()).unwrap(), Some(id(text)));
        }
    }
    let names: Vec<_> = fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["last"], "nothing else is left behind");
}

#[test]
fn an_absent_file_is_no_error_and_everything_else_is() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("last");
    let load = || run(FileStore::new(&path).load());
    assert_eq!(load().unwrap(), None);
    let torn = format!("{HEAD}7");
    let control = format!("{HEAD}a\nb\n");
    for bytes in
        [&b""[..], b"7\n", b"\0\0\0\0", torn.as_bytes(), control.as_bytes(), b"\xff", HEAD.as_bytes()]
    {
        fs::write(&path, bytes).unwrap();
        let error = load().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{bytes:?}");
        assert!(error.to_string().contains("last: this is no file of a last event id"), "{error}");
    }
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    assert!(load().is_err());
    assert!(run(FileStore::new(&path).save(&id("7"))).is_err());
}

#[test]
fn a_file_without_end_is_not_read() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("last");
    File::create(&path).unwrap().set_len(FILE_BYTES_MAX + 1).unwrap();
    let error = run(FileStore::new(&path).load()).unwrap_err();
    assert!(error.to_string().contains("too large"), "{error}");
}

#[test]
fn a_write_that_ended_half_way_leaves_the_old_file_and_no_obstacle() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("last");
    let store = FileStore::new(&path);
    run(store.save(&id("7"))).unwrap();
    fs::write(directory.path().join("last.new"), &HEAD[..9]).unwrap();
    assert_eq!(run(store.load()).unwrap(), Some(id("7")));
    run(store.save(&id("8"))).unwrap();
    assert_eq!(run(store.load()).unwrap(), Some(id("8")));
}

#[test]
fn a_directory_that_is_not_there_is_an_error_that_names_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let store = FileStore::new(directory.path().join("absent/last"));
    let error = run(store.save(&id("7"))).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::NotFound);
    assert!(error.to_string().contains("absent"), "{error}");
    assert_eq!(run(store.load()).unwrap(), None);
}

#[test]
fn readers_see_whole_files_while_clones_write() {
    let directory = tempfile::tempdir().unwrap();
    let store = FileStore::new(directory.path().join("last")).durability(Durability::Process);
    let ids = ["a".repeat(5_000), "b".repeat(70_000)];
    run(store.save(&id(&ids[0]))).unwrap();
    std::thread::scope(|scope| {
        for text in &ids {
            let store = store.clone();
            scope.spawn(move || (0..200).for_each(|_| run(store.save(&id(text))).unwrap()));
        }
        for _ in 0..200 {
            let seen = run(store.load()).unwrap().unwrap();
            assert!(ids.iter().any(|text| seen.as_str() == text), "{} bytes", seen.as_str().len());
        }
    });
}
