//! The C library's allocator, told what this program's memory is like.
//!
//! Batches come and go in buffers of about a mebibyte, each allocated and freed. glibc's own guess gives such memory back to
//! the kernel again and again and takes it anew, page by page: with that a broker under load spends a fifth of its
//! processor (`docs/decisions/2026-11-22-large-appends-go-past-the-page-cache.md`).

/// What is larger is mapped, and unmapped as soon as it is freed: a message of the default size limit is not.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const MAPPED_FROM: libc::c_int = 4 << 20;
/// The most that lies unused at the end of a heap; a heap serves a few threads.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const UNUSED_MAX: libc::c_int = 16 << 20;

/// Keeps freed buffers for the next ones. Before threads are started.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[expect(unsafe_code, reason = "a call into the C library, of numbers alone")]
pub(crate) fn keep_buffers() {
    // SAFETY: there is one thread so far; the allocator takes note of two numbers. What it refuses stays as it was.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, MAPPED_FROM);
        libc::mallopt(libc::M_TRIM_THRESHOLD, UNUSED_MAX);
    }
}

/// Others decide for themselves.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(crate) const fn keep_buffers() {}
