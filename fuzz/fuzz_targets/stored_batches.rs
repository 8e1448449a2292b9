#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| quipu_record::hostile::stored_batches(data));
