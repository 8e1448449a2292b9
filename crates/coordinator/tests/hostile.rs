//! The bodies of this crate's fuzz targets as property tests.

#[path = "../../../fuzz/property.rs"]
mod property;

#[test]
fn no_bytes_break_a_reader() {
    property::run(quipu_coordinator::hostile::BODIES);
}
