//! An allocator that keeps freed memory, for programs that train on a CPU.
//!
//! While a checkpoint is written, its state stays where it is, and training steps write to other memory. The
//! writer needs memory too. Memory that comes fresh from the kernel costs a page fault for every 4 KiB, which
//! takes longer than the computation in it. mimalloc returns memory to the kernel after one second, and saves
//! are further apart than that. Here it returns none, and asks for pages of 2 MiB.

// `GlobalAlloc` is an unsafe trait, and mimalloc's options are set through C.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout};
use std::ffi::{c_int, c_long};
use std::sync::atomic::{AtomicBool, Ordering};

use libmimalloc_sys::mi_option_set_default;
use mimalloc::MiMalloc;

/// mimalloc with settings that keep freed memory in the process, and use large pages where the system has
/// them.
///
/// A program picks it in two lines:
///
/// ```
/// #[global_allocator]
/// static ALLOCATOR: burn_trainer::KeepingAllocator = burn_trainer::KeepingAllocator;
/// # fn main() {}
/// ```
///
/// The process then keeps as much memory as it ever used at a time. The environment variables
/// `MIMALLOC_PURGE_DELAY` and `MIMALLOC_ALLOW_LARGE_OS_PAGES` override these settings.
#[derive(Debug, Clone, Copy, Default)]
pub struct KeepingAllocator;

/// `mi_option_purge_delay` in milliseconds. -1 keeps freed memory forever.
const PURGE_DELAY: (c_int, c_long) = (15, -1);
/// `mi_option_allow_large_os_pages`.
const LARGE_PAGES: (c_int, c_long) = (6, 1);

static IS_SET: AtomicBool = AtomicBool::new(false);

/// Applies the settings. Called before the first allocation, since mimalloc uses its own settings until then.
fn set() {
    if IS_SET.load(Ordering::Relaxed) {
        return;
    }
    for (option, value) in [PURGE_DELAY, LARGE_PAGES] {
        // SAFETY: the call takes any number, allocates nothing, and stores one integer. Concurrent calls
        // store the same one.
        unsafe { mi_option_set_default(option, value) };
    }
    IS_SET.store(true, Ordering::Relaxed);
}

// SAFETY: every call is mimalloc's.
unsafe impl GlobalAlloc for KeepingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        set();
        // SAFETY: the caller's promise is the same.
        unsafe { MiMalloc.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { MiMalloc.dealloc(memory, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        set();
        // SAFETY: as above.
        unsafe { MiMalloc.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: as above.
        unsafe { MiMalloc.realloc(memory, layout, size) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_options_are_those_of_these_numbers() {
        // Their defaults, which no two options beside each other share.
        let default = |option| unsafe { libmimalloc_sys::mi_option_get(option) };
        if !IS_SET.load(Ordering::Relaxed) {
            assert_eq!((default(PURGE_DELAY.0), default(LARGE_PAGES.0)), (1000, 0));
        }
        set();
        assert_eq!((default(PURGE_DELAY.0), default(LARGE_PAGES.0)), (PURGE_DELAY.1, LARGE_PAGES.1));
    }
}
