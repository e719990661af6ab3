//! That the checker catches each kind of breach, and passes what is right: by small stories here, by random
//! histories (`random`) of a model hub (`world`) with one thing broken (`mutation`), and once at full size.

mod mutation;
mod random;
mod world;

use super::*;

/// A history in which `alice` wants `a/*`, and two public events were acked at 1.2 and 1.4.
fn two() -> (History, ReaderId) {
    let mut history = History::new();
    let alice = history.reader(Reader::new("alice").wants(&["a/*"]));
    for (value, id) in [("one", "1.2"), ("two", "1.4")] {
        let publish = history.sent(Publish::new(value, &["a/x"]));
        history.acked(publish, id);
    }
    (history, alice)
}

/// What `tell` says of `two()` is found to be exactly this.
#[track_caller]
fn check(tell: impl FnOnce(&mut History, ReaderId), expect: &[&str]) {
    let (mut history, alice) = two();
    tell(&mut history, alice);
    let found: Vec<_> = history.check().iter().map(ToString::to_string).collect();
    assert_eq!(found, expect);
}

#[test]
fn what_is_owed_depends_on_where_the_reader_began() {
    check(|_, _| (), &[]);
    let hole = |id, value, at| format!("alice was never told {id} ({value:?}), nor a gap{at}");
    let (one, two) = (hole("1.2", "one", ""), hole("1.4", "two", ""));
    check(
        |h, alice| {
            h.connected(alice, Start::Oldest);
            h.caught_up(alice);
        },
        &[&one, &two],
    );
    check(
        |h, alice| {
            h.connected(alice, Start::Tail);
            h.caught_up(alice);
        },
        &[],
    );
    check(
        |h, alice| {
            h.connected(alice, Start::After("1.3"));
            h.caught_up(alice);
        },
        &[&hole("1.4", "two", ", right after it came back")],
    );
    check(
        |h, alice| {
            h.connected(alice, Start::Oldest);
            h.saw(alice, "1.2", None, "one");
            h.cursor(alice, "1.3");
            h.connected(alice, Start::After("1.3"));
            h.saw(alice, "1.4", None, "two");
            h.caught_up(alice);
        },
        &[],
    );
}

#[test]
fn a_tail_owes_what_is_sent_once_it_is_open() {
    let late = |h: &mut History, alice| {
        h.connected(alice, Start::Tail);
        let three = h.sent(Publish::new("three", &["a/x"]));
        h.acked(three, "1.6");
    };
    check(
        |h, alice| {
            late(h, alice);
            h.caught_up(alice);
        },
        &["alice was never told 1.6 (\"three\"), nor a gap"],
    );
    check(
        |h, alice| {
            late(h, alice);
            h.saw(alice, "1.4", None, "two");
            h.saw(alice, "1.6", None, "three");
            h.caught_up(alice);
        },
        &[],
    );
    check(
        |h, alice| {
            h.connected(alice, Start::Tail);
            h.saw(alice, "1.2", None, "one");
            h.cursor(alice, "1.5");
        },
        &["alice was never told 1.4 (\"two\"), nor a gap"],
    );
}

#[test]
fn a_hole_is_told_once_however_often_the_reader_comes_back() {
    check(
        |h, alice| {
            h.connected(alice, Start::After("1.3"));
            h.caught_up(alice);
            h.connected(alice, Start::After("1.3"));
            h.caught_up(alice);
        },
        &["alice was never told 1.4 (\"two\"), nor a gap, right after it came back"],
    );
}

#[test]
fn a_gap_excuses_what_lies_before_its_id() {
    check(
        |h, alice| {
            h.connected(alice, Start::After("1.1"));
            h.gap(alice, "1.2");
            h.saw(alice, "1.4", None, "two");
        },
        &[],
    );
    check(
        |h, alice| {
            h.connected(alice, Start::After("1.1"));
            h.gap(alice, "1.2");
            h.caught_up(alice);
        },
        &["alice was never told 1.4 (\"two\"), nor a gap"],
    );
}

#[test]
fn a_cursor_block_says_that_all_before_it_was_offered() {
    check(
        |h, alice| {
            h.connected(alice, Start::After("1.1"));
            h.cursor(alice, "1.3");
            h.cursor(alice, "1.2");
        },
        &[
            "alice was never told 1.2 (\"one\"), nor a gap, right after it came back",
            "alice was at 1.3 and was sent to 1.2",
        ],
    );
}

#[test]
fn a_void_id_must_be_answered_with_a_gap() {
    check(
        |h, alice| {
            h.connected(alice, Start::After("urn:uuid:7"));
            h.saw(alice, "1.4", None, "two");
        },
        &["alice came back at \"urn:uuid:7\", which is void, and was told no gap"],
    );
    check(
        |h, alice| {
            h.connected(alice, Start::After("urn:uuid:7"));
            h.gap(alice, "1.3");
            h.saw(alice, "1.4", None, "two");
        },
        &[],
    );
}

#[test]
fn a_life_that_lost_its_tail_owes_a_gap_to_those_who_saw_it() {
    let lose = |h: &mut History, alice| {
        h.connected(alice, Start::Oldest);
        h.saw(alice, "1.2", None, "one");
        h.saw(alice, "1.4", None, "two");
        h.life_ended("1.4");
        let three = h.sent(Publish::new("three", &["a/x"]));
        h.acked(three, "9.4");
        h.connected(alice, Start::After("1.4"));
    };
    let void = "alice came back at \"1.4\", which is void, and was told no gap";
    check(
        |h, alice| {
            lose(h, alice);
            h.saw(alice, "9.4", None, "three");
        },
        &[void],
    );
    check(
        |h, alice| {
            lose(h, alice);
            h.caught_up(alice);
        },
        &[void, "alice was never told 9.4 (\"three\"), nor a gap, right after it came back"],
    );
    check(
        |h, alice| {
            lose(h, alice);
            h.gap(alice, "1.3");
            h.saw(alice, "9.4", None, "three");
            let bob = h.reader(Reader::new("bob").wants(&["a/x"]));
            h.connected(bob, Start::After("1.3"));
            h.saw(bob, "9.4", None, "three");
        },
        &[],
    );
}

#[test]
fn what_was_removed_may_be_missing_after_a_told_gap_only() {
    let remove = |h: &mut History, alice, gap: bool| {
        h.removed("a/x", "1.2");
        h.connected(alice, Start::After("1.1"));
        if gap {
            h.gap(alice, "1.1");
        }
        h.saw(alice, "1.4", None, "two");
    };
    check(|h, alice| remove(h, alice, true), &[]);
    check(
        |h, alice| remove(h, alice, false),
        &["alice was never told 1.2 (\"one\"), nor a gap, right after it came back"],
    );
    check(
        |h, alice| {
            h.removed("a/x", "1.2");
            h.connected(alice, Start::Oldest);
            h.caught_up(alice);
        },
        &["alice was never told 1.4 (\"two\"), nor a gap"],
    );
    check(
        |h, alice| {
            h.connected(alice, Start::Oldest);
            h.saw(alice, "1.2", None, "one");
            h.saw(alice, "1.4", None, "two");
            h.gap(alice, "1.3");
        },
        &["alice was at 1.4 and was sent to 1.3"],
    );
}

#[test]
fn conflation_spares_what_is_superseded_and_nothing_else() {
    let other = |h: &mut History| {
        let other = h.sent(Publish::new("other", &["a/y"]));
        h.acked(other, "1.6");
    };
    check(
        |h, alice| {
            other(h);
            h.connected(alice, Start::Last);
            h.saw(alice, "1.6", None, "other");
        },
        &["alice was never told 1.4 (\"two\"), nor a gap"],
    );
    check(
        |h, _| {
            other(h);
            let carol = h.reader(Reader::new("carol").wants(&["**"]).conflating());
            h.connected(carol, Start::After("1.0"));
            h.saw(carol, "1.4", None, "two");
            h.saw(carol, "1.6", None, "other");
        },
        &[],
    );
}

#[test]
fn an_event_of_two_topics_is_spared_only_when_both_spare_it() {
    let both = |h: &mut History| {
        let both = h.sent(Publish::new("both", &["a/x", "a/y"]));
        h.acked(both, "1.6");
        let next = h.sent(Publish::new("next", &["a/x"]));
        h.acked(next, "1.8");
    };
    let hole = "alice was never told 1.6 (\"both\"), nor a gap";
    check(
        |h, alice| {
            both(h);
            h.removed("a/x", "1.7");
            h.connected(alice, Start::Oldest);
            h.saw(alice, "1.8", None, "next");
        },
        &[hole],
    );
    check(
        |h, alice| {
            both(h);
            h.connected(alice, Start::Last);
            h.saw(alice, "1.8", None, "next");
        },
        &[hole],
    );
    check(
        |h, _| {
            both(h);
            h.removed("a/x", "1.7");
            let carol = h.reader(Reader::new("carol").wants(&["a/x"]));
            h.connected(carol, Start::Oldest);
            h.saw(carol, "1.8", None, "next");
        },
        &[],
    );
}

#[test]
fn an_ephemeral_event_may_be_missed_but_not_repeated() {
    let ephemeral = |h: &mut History| {
        let typing = h.sent(Publish::new("typing", &["a/x"]).ephemeral());
        h.acked(typing, "1.3");
    };
    check(
        |h, alice| {
            ephemeral(h);
            h.connected(alice, Start::After("1.2"));
            h.saw(alice, "1.4", None, "two");
        },
        &[],
    );
    check(
        |h, alice| {
            ephemeral(h);
            h.connected(alice, Start::After("1.2"));
            h.saw(alice, "1.3", None, "typing");
            h.saw(alice, "1.4", None, "two");
            h.saw(alice, "1.3", None, "typing");
        },
        &["alice read 1.3 again"],
    );
}

#[test]
fn filter_grant_and_label_bind() {
    check(
        |h, _| {
            let secret = h.sent(Publish::new("secret", &["a/x", "b"]).private().event("note"));
            h.acked(secret, "1.6");
            for (name, wants, granted, events) in [
                ("granted by another topic", "a/*", "b", "note"),
                ("not granted", "a/*", "c", "note"),
                ("another type", "**", "**", "message"),
                ("another topic", "a", "**", "note"),
            ] {
                let reader =
                    h.reader(Reader::new(name).wants(&[wants]).granted(&[granted]).events(&[events]));
                h.connected(reader, Start::After("1.5"));
                h.saw(reader, "1.6", Some("b"), "secret");
            }
            let reader = h.reader(Reader::new("mislabelled").wants(&["**"]).granted(&["**"]));
            h.connected(reader, Start::After("1.5"));
            h.saw(reader, "1.6", Some("c"), "secret");
        },
        &[
            "mislabelled read 1.6 labelled \"c\", where it was not published",
            "not granted got the private event 1.6 without a grant",
            "another type got 1.6 and had not asked for it",
            "another topic got 1.6 and had not asked for it",
        ],
    );
}

#[test]
fn the_id_that_is_seen_is_the_id_that_was_acked() {
    let seen = |h: &mut History, alice, ack: &str, id: &str| {
        let three = h.sent(Publish::new("three", &["a/x"]).id("mine"));
        h.acked(three, ack);
        h.connected(alice, Start::After("1.4"));
        h.saw(alice, id, None, "three");
    };
    check(|h, alice| seen(h, alice, "1.6~mine", "1.6~mine"), &[]);
    check(|h, alice| seen(h, alice, "1.6", "1.6~mine"), &[]);
    let wrong = |id| format!("\"three\" is called {id}, which is not the publisher's id for it");
    check(|h, alice| seen(h, alice, "1.6", "1.6"), &[&wrong("1.6")]);
    check(|h, alice| seen(h, alice, "1.6~mine", "1.6~yours"), &[&wrong("1.6~yours")]);
    check(|h, alice| seen(h, alice, "1.6~yours", "1.6~mine"), &[&wrong("1.6~yours")]);
    check(
        |h, alice| seen(h, alice, "1.6", "1.7~mine"),
        &[
            "\"three\" was acked at 1.6 and read at 1.7~mine",
            "alice was never told 1.6 (\"three\"), nor a gap, right after it came back",
        ],
    );
}

#[test]
fn a_log_that_contradicts_itself_is_told() {
    check(
        |h, alice| {
            let three = h.sent(Publish::new("three", &["a/x"]));
            h.acked(three, "1.4");
            h.acked(three, "1.4");
            h.acked(three, "1.8");
            let refused = h.sent(Publish::new("refused", &["a/x"]));
            h.refused(refused);
            let twice = h.sent(Publish::new("twice", &["a/x"]));
            h.acked(twice, "next");
            h.sent(Publish::new("twice", &["a/x"]));
            h.connected(alice, Start::After("1.9"));
            h.saw(alice, "1.a", None, "refused");
            h.saw(alice, "1.c", None, "twice");
            h.saw(alice, "1.e", None, "twice");
            h.saw(alice, "1.0g", None, "one");
        },
        &[
            "\"three\" was acked at 1.4 and then at 1.8",
            "twice gave \"next\", which is no id",
            "the test sent \"twice\" twice; values must be unique",
            "alice read \"refused\", which was refused",
            "alice gave \"1.0g\", which is no id",
            "1.4 means \"two\" and \"three\"",
            "\"twice\" is at 1.c and at 1.e",
        ],
    );
}

#[test]
fn lives_rank_as_they_appear_or_as_they_are_declared() {
    let tell = |declared: &[&str]| {
        let mut history = History::new();
        history.lives(declared);
        let reader = history.reader(Reader::new("r").wants(&["**"]));
        for (value, id) in [("old", "zz.5"), ("new", "a.5")] {
            let publish = history.sent(Publish::new(value, &["t"]));
            history.acked(publish, id);
        }
        history.connected(reader, Start::Oldest);
        history.saw(reader, "zz.5", None, "old");
        history.saw(reader, "a.5", None, "new");
        history.check()
    };
    assert_eq!(tell(&[]), []);
    let (reader, id, after) = ("r".into(), "a.5".into(), "zz.5".into());
    assert!(tell(&["a", "zz"]).contains(&Violation::Inversion { reader, id, after }));
}

#[test]
fn patterns_are_read_by_the_plain_definition() {
    for (selector, topic, expect) in [
        ("a/*", "a/b", true),
        ("a/*", "a/", true),
        ("a/*", "a/b/c", false),
        ("a/**", "a/b/c", true),
        ("**", "", true),
        ("*b*c", "abxbc", true),
        ("a", "ab", false),
        ("ü*", "übel", true),
    ] {
        assert_eq!(pattern::matches(selector, topic), expect, "{selector} {topic}");
    }
}

#[test]
fn ids_of_another_history_are_told() {
    let (mut history, alice) = two();
    let mut other = History::new();
    other.saw(alice, "1.1", None, "x");
    other.refused(history.sent(Publish::new("three", &["a/x"])));
    assert_eq!(other.check(), [Violation::Stranger, Violation::Stranger]);
}

#[test]
fn a_run_that_is_wholly_broken_ends_in_bounded_time() {
    let mut history = History::new();
    let reader = history.reader(Reader::new("r").wants(&["**"]));
    history.connected(reader, Start::Oldest);
    for _ in 0..5_000 {
        history.saw(reader, "1.5", None, "forged");
    }
    assert_eq!(history.check().len(), Violation::COUNT_MAX);
}
