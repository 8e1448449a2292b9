//! The rules of agreement, one decision a file: pure, no disk, no clock.

pub mod high_watermark;
pub mod isr;
pub mod producers;
pub mod waiting;
