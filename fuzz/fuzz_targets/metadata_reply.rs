#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| quipu_metadata::hostile::metadata_reply(data));
