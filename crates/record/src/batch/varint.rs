//! Zig-zag LEB128, as records use it.
