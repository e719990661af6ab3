//! The bytes themselves. That they read back the same is `tests/wire/round_trip.rs`.

use alloc::string::String;

use super::*;

fn check(write: impl FnOnce(&mut Vec<u8>), expected: &str) {
    let mut out = Vec::from(*b"before|");
    write(&mut out);
    assert_eq!(String::from_utf8(out).unwrap().strip_prefix("before|"), Some(expected));
}

fn id(text: &str) -> EventId {
    EventId::parse(text).unwrap()
}

#[test]
fn an_event_has_its_fields_in_a_fixed_order() {
    let event = Event::new("a\nb")
        .with_retry_ms(u64::MAX)
        .with_event(EventName::parse("e").unwrap())
        .with_id(id("1"));
    check(|out| encode(&event, out), "id: 1\nevent: e\nretry: 18446744073709551615\ndata: a\ndata: b\n\n");
}

#[test]
fn every_line_end_becomes_a_line() {
    check(|out| encode(&Event::new(""), out), "data:\n\n");
    check(|out| encode(&Event::new("\n"), out), "data:\ndata:\n\n");
    check(|out| encode(&Event::new("a\r"), out), "data: a\ndata:\n\n");
    check(|out| encode(&Event::new("\r\n\n\r"), out), "data:\ndata:\ndata:\ndata:\n\n");
    check(|out| encode(&Event::new("é\r\r\n€"), out), "data: é\ndata:\ndata: €\n\n");
}

#[test]
fn a_leading_space_is_kept_by_one_more() {
    check(|out| BlockWriter::new(out).id(&id(" 1")).data(" a").end(), "id:  1\ndata:  a\n\n");
}

#[test]
fn an_empty_id_is_written_because_it_resets() {
    check(|out| BlockWriter::new(out).id(&EventId::empty()).end(), "id:\n\n");
}

#[test]
fn a_displayed_id_stays_on_its_line() {
    check(|out| BlockWriter::new(out).id_display("1\n\ndata: x\r\0").end(), "id: 1data: x\n\n");
}

#[test]
fn a_display_that_fails_leaves_one_line() {
    struct Fails;
    impl fmt::Display for Fails {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("half")?;
            Err(fmt::Error)
        }
    }
    check(|out| BlockWriter::new(out).id_display(Fails).data("a").end(), "id: half\ndata: a\n\n");
}

#[test]
fn every_line_of_a_comment_gets_its_colon() {
    check(|out| encode_comment("", out), ":\n");
    check(|out| encode_comment("a\r\nb\rdata: c\n", out), ":a\n:b\n:data: c\n:\n");
    check(|out| BlockWriter::new(out).comment("a\nb").data("c").end(), ":a\n:b\ndata: c\n\n");
}
