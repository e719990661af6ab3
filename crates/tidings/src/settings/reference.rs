//! The table of settings as text: a page of the documentation, and what is in force now.

use std::fmt::Write as _;

use super::table::{ROWS, Row, Settings};

/// The page `docs/src/reference/settings.md`. A test holds the file against this.
pub(crate) fn markdown() -> String {
    let mut page = String::from(HEAD);
    let mut section = "";
    for row in ROWS {
        if row.section != section {
            section = row.section;
            let _ = write!(page, "\n## {section}\n\n");
            page.push_str("| Flag and TOML key | Written as | Default | What it is |\n|---|---|---|---|\n");
        }
        let key = if row.is_in_file() { format!("<br>`{}`", row.key) } else { String::new() };
        let (flag, kind, help) = (row.flag(), row.kind, row.help);
        let _ = writeln!(page, "| `--{flag}`{key} | {kind} | {} | {help} |", default(row));
    }
    page.push_str(TAIL);
    page
}

fn default(row: &Row) -> String {
    match row.default {
        "" if row.kind.is_list() => "empty".to_owned(),
        "" => "none".to_owned(),
        text => format!("`{text}`"),
    }
}

/// Every setting as a line: its key, its value, and where that came from.
pub(crate) fn in_force(settings: &Settings) -> String {
    let written = settings.written();
    let width = written.iter().map(|(key, ..)| key.len()).max().unwrap_or(0);
    let mut page = String::new();
    for (key, text, origin) in written {
        let _ = writeln!(page, "{key:width$} = {text:<28}  # {origin}");
    }
    page
}

const HEAD: &str = r#"# Settings

<!-- Made by `tidings settings --markdown` from the table in `crates/tidings/src/settings/table.rs`. -->

Every setting can be given in three ways. If several are used, the first of this list wins:

1. a flag: `--segment-bytes 128MiB`
2. an environment variable: `TIDINGS_SEGMENT_BYTES=128MiB` (the flag's name in capitals)
3. a key of the TOML file that `--config` names: `segment_bytes = "128MiB"`

A name that does not exist is an error, in the file and in the environment alike, and so is a value that cannot be;
the message names the place and the nearest right name. `tidings settings` takes the same flags, and prints every
value with where it came from.

**How values are written.** A duration is a number and a unit: `500ms`, `30s`, `5m`, `12h`, `7d`. A size is a number
of bytes, or a number with `KiB`, `MiB`, `GiB` or `TiB`. A list is written with commas (`a,b`) in a flag or a
variable, a flag of a list can be repeated, and in TOML it is an array: `["a", "b"]`. A selector is a topic's name, or
a glob in which `*` stands for a part of a segment and `**` for anything.
"#;

const TAIL: &str = r#"
## Limits of topics

`topic_retention` says for some topics what is kept of them: `age`, `bytes`, `count`, and `keep_last`, which
[keeps the newest event](../http/topics.md#retention) whatever limit it is past. In a flag or a variable each is one text,
the selector first; in the file it may be a table:

```toml
[[topic_retention]]
topics = ["scores/**", "prices/**"]
age = "2h"
count = 100
keep_last = true
```

is the same as `--topic-retention 'scores/** age=2h count=100 keep_last'` and the same again for `prices/**`. The first
selector that matches a topic counts; what the topic [declares itself](../http/topics.md#put-declare) takes its place. The
limits of the hub hold beside either: whichever is shorter.

## Keys

Only the file has them, one table each. `tidings key new NAME` makes a key and prints its table; the key itself is
shown once and stored nowhere, only its hash.

```toml
[[keys]]
name = "backend"
hash = "sha256:…"
publish = ["orders/**"]
subscribe = ["orders/**"]
manage = []
```

A key is presented as `Authorization: Bearer KEY`, as the cookie `tidings_key`, or as `?access_token=KEY`. Whoever has
a key may do what its lists say and what everybody may. Private events go only to keys whose `subscribe` list names
one of their topics.
"#;
