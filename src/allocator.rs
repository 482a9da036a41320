//! The allocator of the program and of its benchmarks; the library leaves the choice to its user.
//!
//! Folding makes and drops many small values, on several threads: it takes half the time with mimalloc.

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// `mi_option_purge_delay` of mimalloc 3, which its Rust binding gives no name.
const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;
/// Milliseconds after which freed memory goes back to the system. The default, a second, keeps a third more than is
/// used while large batches come and go.
const PURGE_DELAY_MS: std::ffi::c_long = 50;

/// Sets the allocator up. The environment's `MIMALLOC_PURGE_DELAY` has the last word.
pub fn set_up() {
    if std::env::var_os("MIMALLOC_PURGE_DELAY").is_none() {
        #[expect(unsafe_code, reason = "sets a number that mimalloc reads at each purge")]
        // SAFETY: any thread may set an option at any time; the number is that of an option, and it takes any value.
        unsafe {
            libmimalloc_sys::mi_option_set(PURGE_DELAY, PURGE_DELAY_MS);
        }
    }
}
