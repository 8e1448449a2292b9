#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| quipu_replication::hostile::producer_snapshot(data));
