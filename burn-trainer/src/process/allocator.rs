//! An allocator that keeps what was freed, for programs that train on a CPU.
//!
//! Until a checkpoint is written, the state that it is written from stays where it is, and the steps write to other memory; so
//! does what makes its bytes. Memory that comes fresh from the kernel costs more than what is computed in it: a page
//! fault for every 4 KiB. mimalloc gives back what was free for a second, which is less than from one save to the next. Here
//! it gives back nothing, and asks for pages of 2 MiB.

// `GlobalAlloc` is an unsafe trait, and mimalloc's options are set through C.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout};
use std::ffi::{c_int, c_long};
use std::sync::atomic::{AtomicBool, Ordering};

use libmimalloc_sys::mi_option_set_default;
use mimalloc::MiMalloc;

/// mimalloc, set so that freed memory stays with the process, and large pages are used where the system has them.
///
/// A program picks it in two lines:
///
/// ```
/// #[global_allocator]
/// static ALLOCATOR: burn_trainer::KeepingAllocator = burn_trainer::KeepingAllocator;
/// # fn main() {}
/// ```
///
/// The process then holds as much as it ever had in use at a time. What the environment says (`MIMALLOC_PURGE_DELAY`,
/// `MIMALLOC_ALLOW_LARGE_OS_PAGES`) goes before these settings.
#[derive(Debug, Clone, Copy, Default)]
pub struct KeepingAllocator;

/// `mi_option_purge_delay`, in milliseconds, and what keeps freed memory for ever.
const PURGE_DELAY: (c_int, c_long) = (15, -1);
/// `mi_option_allow_large_os_pages`.
const LARGE_PAGES: (c_int, c_long) = (6, 1);

static IS_SET: AtomicBool = AtomicBool::new(false);

/// Before the first piece of memory is asked for: what mimalloc has by then, it has with its own settings.
fn set() {
    if IS_SET.load(Ordering::Relaxed) {
        return;
    }
    for (option, value) in [PURGE_DELAY, LARGE_PAGES] {
        // SAFETY: it takes any number, allocates nothing, and stores one integer. Threads that do it at once store the same.
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
