//! Ids, counters, times and codes: where they stop, where they wrap, and that each form reads back.

use quipu_record::{
    Codec, ErrorCode, LeaderEpoch, MESSAGE_BYTES_DEFAULT, Offset, PartitionEpoch, Sequence, Tick, Timestamp,
    TopicId,
};
use std::collections::HashSet;
use std::time::Duration;

#[test]
fn offsets_move_up_and_stop_at_the_greatest() {
    let five = Offset::new(5);
    assert_eq!(five.next(), Offset::new(6));
    assert_eq!(five.plus(7), Offset::new(12));
    assert_eq!(Offset::MAX.next(), Offset::MAX);
    assert_eq!(Offset::new(Offset::MAX.get() - 1).next(), Offset::MAX);
    assert_eq!(five.plus(u64::MAX), Offset::MAX);
    assert_eq!((Offset::new(12).since(five), five.since(Offset::new(12))), (7, 0));
}

#[test]
fn the_wires_offsets_are_signed_and_none_is_negative() {
    for offset in [0, 1, i64::MAX] {
        assert_eq!(Offset::from_wire(offset).map(Offset::to_wire), Some(offset));
    }
    assert_eq!((Offset::from_wire(-1), Offset::from_wire(i64::MIN)), (None, None));
    assert_eq!(Offset::MAX.to_wire(), i64::MAX);
}

#[test]
fn sequences_wrap_to_0_after_the_greatest_of_31_bits() {
    let greatest = Sequence::new(i32::MAX as u32);
    assert_eq!(Sequence::FIRST.plus(3), Sequence::new(3));
    assert_eq!(greatest.plus(0), greatest);
    assert_eq!(greatest.plus(1), Sequence::FIRST);
    assert_eq!(greatest.plus(5), Sequence::new(4));
}

#[test]
fn epochs_grow_by_one() {
    assert_eq!(LeaderEpoch::FIRST.next(), LeaderEpoch::new(1));
    assert_eq!(PartitionEpoch::FIRST.next(), PartitionEpoch::new(1));
    let last = LeaderEpoch::new(i32::MAX as u32 - 1).next();
    assert_eq!(last, LeaderEpoch::new(i32::MAX as u32));
    assert!(
        std::panic::catch_unwind(|| last.next()).is_err(),
        "the wire has no greater one"
    );
}

#[test]
fn times_stop_at_the_ends_of_their_range() {
    let time = Timestamp::new(1_000);
    assert_eq!(time.plus_millis(-3_000), Timestamp::new(-2_000));
    assert_eq!(Timestamp::new(i64::MAX).plus_millis(1), Timestamp::new(i64::MAX));
    assert_eq!(Timestamp::new(i64::MIN).plus_millis(-1), Timestamp::new(i64::MIN));
    let tick = Tick::from_nanos(7);
    assert_eq!(tick.after(Duration::from_secs(1)).nanos(), 1_000_000_007);
    assert_eq!(tick.after(Duration::MAX).nanos(), u64::MAX);
    assert_eq!(Tick::from_nanos(10).since(tick), Duration::from_nanos(3), "later");
    assert_eq!(tick.since(Tick::from_nanos(10)), Duration::ZERO, "earlier");
}

#[test]
fn a_topics_id_reads_back_from_each_of_its_forms() {
    let text = "00112233-4455-6677-8899-aabbccddeeff";
    let id = TopicId::parse(text).expect("an id");
    assert_eq!(id.to_string(), text);
    assert_eq!(id.as_u128(), 0x0011_2233_4455_6677_8899_aabb_ccdd_eeff);
    assert_eq!(id.into_bytes()[..4], [0x00, 0x11, 0x22, 0x33]);
    assert_eq!(TopicId::from_u128(id.as_u128()), id);
    assert_eq!(TopicId::from_bytes(id.into_bytes()), id);
    assert_eq!(TopicId::parse("a topic's name"), None);
}

#[test]
fn codecs_are_named_and_numbered_as_kafkas_are() {
    for (codec, name, number) in [(Codec::None, "none", 0), (Codec::Zstd, "zstd", 4)] {
        assert_eq!((codec.name(), codec.number()), (name, number));
        assert_eq!(codec.to_string(), name);
        assert_eq!(Codec::from_name(name), Some(codec));
    }
    assert_eq!(Codec::from_name("gzip"), None);
}

#[test]
fn every_code_has_a_number_and_a_name_of_its_own() {
    let numbers: HashSet<u16> = ErrorCode::ALL.iter().map(|code| *code as u16).collect();
    let names: HashSet<&str> = ErrorCode::ALL.iter().map(|code| code.name()).collect();
    assert_eq!(
        (numbers.len(), names.len()),
        (ErrorCode::ALL.len(), ErrorCode::ALL.len())
    );
    for code in ErrorCode::ALL {
        assert_eq!(ErrorCode::from_number(*code as u16), Some(*code));
        assert_eq!(code.to_string(), code.name());
    }
    assert_eq!(
        (ErrorCode::from_number(0), ErrorCode::from_number(u16::MAX)),
        (None, None)
    );
}

#[test]
fn a_message_has_a_mebibyte_at_most_unless_configured() {
    assert_eq!(MESSAGE_BYTES_DEFAULT, 1_048_576);
}
