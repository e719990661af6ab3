//! The dependency picture: which package of the house may name which.
//!
//! One table, checked against `cargo metadata`. Only edges inside the workspace count; what may come from outside
//! is the business of `deny.toml`.
//! **Invariant:** arrows point down and only down; client and hub never meet; server names no store.

use serde_json::Value;

use super::Finding;
use crate::Failure;

/// One package of the house and what it may name.
struct Room {
    name: &'static str,
    /// Packages it may depend on.
    below: &'static [&'static str],
    /// Packages that its tests and examples may name besides `below` and those of the testkit.
    dev: &'static [&'static str],
}

const TESTKIT: &str = "tidings-testkit";
const HISTORY: &str = "tidings-history";

/// The picture. A new package gets its row here first; that is the moment to think about where it stands.
const HOUSE: &[Room] = &[
    Room {
        name: "tidings",
        below: &[
            "tidings-client",
            "tidings-server",
            "tidings-cluster",
            "tidings-log",
            "tidings-hub",
            "tidings-codec",
        ],
        dev: &[],
    },
    // The server names no concrete store: the binary wires them. Its tests and examples need one to run on.
    Room {
        name: "tidings-server",
        below: &["tidings-reactor", "tidings-hub", "tidings-codec"],
        dev: &["tidings-log"],
    },
    Room { name: "tidings-reactor", below: &["tidings-hub", "tidings-codec"], dev: &["tidings-log"] },
    Room { name: "tidings-cluster", below: &["tidings-hub", "tidings-codec"], dev: &[] },
    Room { name: "tidings-log", below: &["tidings-hub", "tidings-codec"], dev: &[] },
    // The hub's own tests may run on a store.
    Room { name: "tidings-hub", below: &["tidings-codec"], dev: &["tidings-log"] },
    Room { name: "tidings-client", below: &["tidings-codec"], dev: &[] },
    Room { name: "tidings-codec", below: &[], dev: &[] },
    // Programs to copy from: they wire what they show.
    Room { name: "tidings-examples", below: &["tidings-hub", "tidings-log"], dev: &[] },
    Room { name: "tidings-client-examples", below: &["tidings-client", "tidings-codec"], dev: &[] },
    // It breaks what lies below the log, and knows nothing above it.
    Room { name: TESTKIT, below: &["tidings-log"], dev: &[] },
    // It goes the hot paths from outside, each room's own.
    Room {
        name: "tidings-counts",
        below: &["tidings-server", "tidings-reactor", "tidings-log", "tidings-hub", "tidings-codec"],
        dev: &[],
    },
    // A judge shares no code with what it judges.
    Room { name: HISTORY, below: &[], dev: &[] },
    // The client as an outside harness sees it.
    Room { name: "client-service", below: &["tidings-client"], dev: &[] },
    Room { name: "tidings-fuzz", below: &["tidings-client", "tidings-codec"], dev: &[] },
    Room { name: "xtask", below: &[], dev: &[] },
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `[dependencies]` and `[build-dependencies]`: whoever uses the package gets these too.
    Normal,
    /// `[dev-dependencies]`: tests and examples only.
    Dev,
}

/// A member of the workspace and the names it depends on, from inside and outside the workspace.
#[derive(Debug, Clone)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) edges: Vec<(Kind, String)>,
}

/// Reads the packages out of the JSON of `cargo metadata --no-deps`.
///
/// # Errors
/// If the JSON has not the shape of metadata format 1.
pub(crate) fn parse(metadata: &str) -> Result<Vec<Package>, Failure> {
    let value: Value =
        serde_json::from_str(metadata).map_err(|error| format!("cargo metadata is not JSON: {error}"))?;
    let packages = value.get("packages").and_then(Value::as_array);
    packages.ok_or("cargo metadata has no `packages`")?.iter().map(package).collect()
}

fn package(value: &Value) -> Result<Package, Failure> {
    let name = |value: &Value| {
        let name = value.get("name").and_then(Value::as_str);
        name.map(str::to_owned).ok_or_else(|| "cargo metadata has something without `name`".to_owned())
    };
    let dependencies = value.get("dependencies").and_then(Value::as_array);
    let dependencies = dependencies.ok_or("cargo metadata has a package without `dependencies`")?;
    let edges = dependencies
        .iter()
        .map(|edge| {
            let kind = match edge.get("kind").and_then(Value::as_str) {
                Some("dev") => Kind::Dev,
                _ => Kind::Normal,
            };
            Ok((kind, name(edge)?))
        })
        .collect::<Result<Vec<_>, Failure>>()?;
    Ok(Package { name: name(value)?, edges })
}

/// Compares the packages with the picture.
#[must_use]
pub(crate) fn check(packages: &[Package]) -> Vec<Finding> {
    let inside = |name: &str| {
        packages.iter().any(|package| package.name == name) || HOUSE.iter().any(|room| room.name == name)
    };
    let mut findings = Vec::new();
    for package in packages {
        let Some(room) = HOUSE.iter().find(|room| room.name == package.name) else {
            findings.push(Finding::of(
                &package.name,
                "has no place in the dependency picture: give it a row in `HOUSE` (xtask/src/tidy/edges.rs)",
            ));
            continue;
        };
        for (kind, target) in package.edges.iter().filter(|(_, target)| inside(target)) {
            if !allowed(room, *kind, target) {
                findings.push(Finding::of(
                    room.name,
                    format!(
                        "may not name {target}{}: arrows point down (DESIGN, the house)",
                        match kind {
                            Kind::Normal => "",
                            Kind::Dev => " even in tests",
                        }
                    ),
                ));
            }
        }
    }
    findings
}

fn allowed(room: &Room, kind: Kind, target: &str) -> bool {
    room.below.contains(&target)
        || (kind == Kind::Dev && ([TESTKIT, HISTORY].contains(&target) || room.dev.contains(&target)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_one(name: &str, edges: &[(Kind, &str)]) -> Vec<String> {
        let package = Package {
            name: name.to_owned(),
            edges: edges.iter().map(|(kind, target)| (*kind, (*target).to_owned())).collect(),
        };
        check(&[package]).iter().map(ToString::to_string).collect()
    }

    /// Everything that users of `name` get, by normal edges of the table.
    fn reach(name: &str) -> Vec<&'static str> {
        let mut seen: Vec<&'static str> = Vec::new();
        let mut open = vec![name];
        while let Some(name) = open.pop() {
            let room = HOUSE.iter().find(|room| room.name == name).unwrap();
            for below in room.below.iter().filter(|below| !seen.contains(below)).collect::<Vec<_>>() {
                seen.push(below);
                open.push(below);
            }
        }
        seen
    }

    #[test]
    fn the_table_itself_keeps_the_promises_of_the_picture() {
        for room in HOUSE {
            let reach = reach(room.name);
            assert!(!reach.contains(&room.name), "{} reaches itself", room.name);
            assert!(!reach.contains(&TESTKIT), "{} ships the testkit", room.name);
            assert!(!reach.contains(&HISTORY), "{} ships the judge", room.name);
            let both = reach.contains(&"tidings-client") && reach.contains(&"tidings-hub");
            assert_eq!(both, room.name == "tidings", "client and hub meet in {}", room.name);
        }
        assert!(!reach("tidings-server").contains(&"tidings-log"));
        assert!(!reach("tidings-client").contains(&"tidings-hub"));
        assert!(!reach("tidings-hub").contains(&"tidings-client"));
        assert_eq!(reach("tidings-codec"), Vec::<&str>::new());
    }

    #[test]
    fn what_the_picture_shows_is_allowed() {
        for room in HOUSE {
            let below: Vec<_> = room.below.iter().map(|name| (Kind::Normal, *name)).collect();
            assert_eq!(check_one(room.name, &below), Vec::<String>::new());
            for test in [TESTKIT, HISTORY] {
                assert_eq!(check_one(room.name, &[(Kind::Dev, test)]), Vec::<String>::new());
            }
        }
        assert_eq!(check_one("tidings-codec", &[(Kind::Normal, "memchr")]), Vec::<String>::new());
    }

    #[test]
    fn an_arrow_up_or_across_is_found() {
        for (from, kind, to) in [
            ("tidings-client", Kind::Normal, "tidings-hub"),
            ("tidings-client", Kind::Dev, "tidings-hub"),
            ("tidings-hub", Kind::Normal, "tidings-client"),
            ("tidings-hub", Kind::Dev, "tidings-server"),
            ("tidings-hub", Kind::Normal, "tidings-log"),
            ("tidings-server", Kind::Normal, "tidings-log"),
            ("tidings-codec", Kind::Normal, "tidings-hub"),
            ("tidings-log", Kind::Normal, TESTKIT),
            ("tidings", Kind::Normal, TESTKIT),
            (TESTKIT, Kind::Normal, "tidings-server"),
            (HISTORY, Kind::Normal, "tidings-hub"),
        ] {
            let found = check_one(from, &[(kind, to)]);
            assert_eq!(found.len(), 1, "{from} -> {to} ({kind:?}): {found:?}");
            assert!(found[0].contains(to), "{found:?}");
        }
    }

    #[test]
    fn a_store_is_allowed_under_tests_of_hub_and_server_only() {
        assert!(check_one("tidings-hub", &[(Kind::Dev, "tidings-log")]).is_empty());
        assert!(check_one("tidings-server", &[(Kind::Dev, "tidings-log")]).is_empty());
        assert_eq!(check_one("tidings-codec", &[(Kind::Dev, "tidings-log")]).len(), 1);
    }

    #[test]
    fn a_package_without_a_row_is_found() {
        let found = check_one("tidings-plugin", &[]);
        assert!(found[0].contains("no place in the dependency picture"), "{found:?}");
    }

    #[test]
    fn metadata_is_read_with_its_kinds() {
        let packages = parse(
            r#"{"packages": [{"name": "tidings-hub", "dependencies": [
                {"name": "bytes", "kind": null}, {"name": "tidings-log", "kind": "dev"},
                {"name": "tidings-client", "kind": "build", "rename": "innocent"}]}]}"#,
        )
        .unwrap();
        assert_eq!(packages[0].edges[1], (Kind::Dev, "tidings-log".to_owned()));
        let found = check(&packages);
        assert_eq!(found.len(), 1, "a build dependency under another name is still an edge: {found:?}");
        assert!(parse("{}").is_err());
        assert!(parse("no json").is_err());
    }
}
