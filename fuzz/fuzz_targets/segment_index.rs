#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| quipu_storage::hostile::segment_index(data));
