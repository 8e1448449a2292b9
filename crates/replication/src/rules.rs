//! The rules of agreement, one decision a file: pure, no disk, no clock.

pub mod fetch_session;
pub mod follower;
pub mod follower_fetch;
pub mod followers;
pub mod high_watermark;
pub mod isr;
pub mod isr_change;
pub mod leader;
pub mod producers;
pub mod timestamps;
pub mod vouch;
pub mod waiting;
