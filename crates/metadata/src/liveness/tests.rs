//! What each rule does.
