#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| quipu_storage::hostile::compaction_swap(data));
