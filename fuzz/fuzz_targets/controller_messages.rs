#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| quipu_controller::hostile::controller_messages(data));
