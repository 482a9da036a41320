//! The allocator of the program and of its benchmarks; the library leaves the choice to its user.
//!
//! Folding makes and drops many small values, on several threads: it takes half the time with mimalloc.

use std::alloc::{GlobalAlloc, Layout};
use std::ffi::c_void;

#[global_allocator]
static ALLOCATOR: Mimalloc = Mimalloc;

/// mimalloc 3. The binding's own allocator asks for an alignment each time, also where every block has it; mimalloc then
/// often takes a larger block, and finds its beginning when it is freed.
struct Mimalloc;

/// Every block of mimalloc is aligned so, as every word is.
const ALIGNED: usize = size_of::<usize>();

#[expect(unsafe_code, reason = "an allocator is unsafe by its trait")]
// SAFETY: blocks are mimalloc's, whose functions have the meaning of the trait's: a block has the size and alignment asked
// for, or null is answered; it is freed and resized by the pointer alone, whichever of them made it; nothing unwinds.
unsafe impl GlobalAlloc for Mimalloc {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        match layout.align() {
            ..=ALIGNED => unsafe { libmimalloc_sys::mi_malloc(layout.size()).cast() },
            align => unsafe { libmimalloc_sys::mi_malloc_aligned(layout.size(), align).cast() },
        }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        match layout.align() {
            ..=ALIGNED => unsafe { libmimalloc_sys::mi_zalloc(layout.size()).cast() },
            align => unsafe { libmimalloc_sys::mi_zalloc_aligned(layout.size(), align).cast() },
        }
    }

    unsafe fn dealloc(&self, block: *mut u8, _: Layout) {
        unsafe { libmimalloc_sys::mi_free(block.cast::<c_void>()) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let block = block.cast::<c_void>();
        match layout.align() {
            ..=ALIGNED => unsafe { libmimalloc_sys::mi_realloc(block, size).cast() },
            align => unsafe { libmimalloc_sys::mi_realloc_aligned(block, size, align).cast() },
        }
    }
}

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
