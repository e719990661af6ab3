//! Frames survive the way to bytes and back, and nothing else passes for one.

use super::*;

fn topics(names: &[&str]) -> Topics {
    names.iter().map(|name| TopicName::parse(name).unwrap()).collect()
}

fn records() -> Vec<Record> {
    let full = EventBody {
        private: true,
        binary: true,
        ephemeral: false,
        id: Some(EventId::parse("id-1").unwrap()),
        event: Some(EventName::parse("named").unwrap()),
        retry_ms: Some(u64::MAX),
        data: Bytes::from_static(&[0, 255, 10, 13]),
        once: Some(Once::Item(ItemKey { key: "scope\0key".into(), index: 7 })),
    };
    let producer = Producer { id: "scope\0id".into(), epoch: 3, seq: Producer::NUMBER_MAX };
    let numbered = EventBody { once: Some(Once::Producer(producer)), ..full.clone() };
    let limits = Retention { age_ms: Some(1), bytes: None, count: Some(3), keep_last: true };
    let config = TopicConfig { content_type: "image/png".into(), retention: limits, ephemeral: true };
    let whats = [
        What::Event(EventBody::default()),
        What::Event(full),
        What::Event(numbered),
        What::Control(Control::Configure(config)),
        What::Control(Control::Configure(TopicConfig::default())),
        What::Control(Control::Close),
        What::Control(Control::Delete),
        What::Control(Control::Trim { through: Seq(9) }),
    ];
    let lists = [topics(&["a"]), topics(&["a/b", "ü", "c"])];
    let pairs = whats.iter().flat_map(|what| lists.iter().map(move |topics| (what, topics)));
    let record = |(i, (what, topics)): (u64, (&What, &Topics))| Record {
        seq: Seq(i),
        time_ms: 1_700_000_000_000,
        topics: topics.clone(),
        what: what.clone(),
    };
    (1..).zip(pairs).map(record).collect()
}

fn decode(salt: u64, frame: &[u8]) -> Option<Record> {
    let head = RecordHead::decode(frame)?;
    let payload = frame.get(RECORD_HEADER_BYTES..)?;
    (payload.len() == head.payload_bytes)
        .then(|| head.record(&mut Seed::of(salt), payload, &mut ToShare::default()))
        .flatten()
}

#[test]
fn a_record_comes_back_as_it_was_and_only_under_its_salt() {
    for record in records() {
        let mut frame = Vec::new();
        encode_record(&mut Seed::of(5), &record, &mut frame);
        assert_eq!(decode(5, &frame).as_ref(), Some(&record));
        assert_eq!(decode(6, &frame), None, "the salt of another file");
    }
}

#[test]
fn no_flipped_bit_and_no_cut_passes() {
    for record in records() {
        let mut frame = Vec::new();
        encode_record(&mut Seed::of(5), &record, &mut frame);
        for at in 0..frame.len() {
            assert_eq!(decode(5, &frame[..at]), None, "cut at {at}");
            for bit in 0..8 {
                let mut odd = frame.clone();
                odd[at] ^= 1 << bit;
                assert_eq!(decode(5, &odd), None, "byte {at}, bit {bit} of {record:?}");
            }
        }
    }
}

#[test]
fn a_batch_header_comes_back_and_no_other_bytes_pass() {
    let header = BatchHeader {
        salt: 77,
        first: Seq(3),
        last: Seq(9),
        durable_through: 128,
        reserved_through: Seq(1_000),
        count: 4,
        body_bytes: 512,
        chain: 0xdead_beef,
    };
    let mut bytes = Vec::new();
    let crc = header.encode(&mut bytes);
    assert_eq!(bytes.len(), BATCH_HEADER_BYTES);
    assert_eq!(BatchHeader::decode(&bytes), Some((header, crc)));
    assert!(RecordHead::decode(&bytes).is_none(), "a header is never taken for a record");
    for at in 0..bytes.len() {
        assert_eq!(BatchHeader::decode(&bytes[..at]), None);
        let mut odd = bytes.clone();
        odd[at] ^= 0x10;
        assert_eq!(BatchHeader::decode(&odd), None, "byte {at}");
    }
}
