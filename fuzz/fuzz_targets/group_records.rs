#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| quipu_coordinator::hostile::group_records(data));
