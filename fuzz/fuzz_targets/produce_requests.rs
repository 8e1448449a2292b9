#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| quipu_proto::hostile::produce_requests(data));
