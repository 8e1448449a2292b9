//! The group member's core against groups that give and take, and streams that break.
