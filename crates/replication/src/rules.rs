//! The rules of agreement, one decision a file: pure, no disk, no clock.

pub mod high_watermark;
pub mod isr;
pub mod leader;
pub mod producers;
pub mod timestamps;
pub mod waiting;
