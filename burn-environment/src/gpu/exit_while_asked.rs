//! A program ends although a driver hangs.
//!
//! `exit` closes the libraries that were loaded, the Vulkan loader and NVIDIA's among them, and those wait
//! for a call that is under way. So a driver that never answers would keep a program that has done all its
//! work from ending.
//!
//! With glibc a function can see the exit status before the libraries are closed (`on_exit(3)`). Elsewhere
//! nothing is done. Nor does this help against a library that hangs while it is loaded: the linker's lock is
//! then held, which every new thread needs.

#![allow(unsafe_code)]

/// Says that a driver is being asked, while it lives.
#[derive(Debug)]
pub(super) struct Asking {
    _private: (),
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
mod glibc {
    use std::ffi::{c_int, c_void};
    use std::ptr;
    use std::sync::Once;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::Asking;

    unsafe extern "C" {
        fn on_exit(call: extern "C" fn(c_int, *mut c_void), argument: *mut c_void) -> c_int;
        fn _exit(status: c_int) -> !;
    }

    static UNDER_WAY: AtomicUsize = AtomicUsize::new(0);

    impl Asking {
        pub(in super::super) fn begin() -> Self {
            static REGISTERED: Once = Once::new();
            // Before the first library is loaded: what is registered later is called earlier.
            REGISTERED.call_once(|| {
                // SAFETY: the function lives as long as the program, and takes no argument. Where it cannot
                // be registered, all is as without it.
                let _registered = unsafe { on_exit(end_at_once, ptr::null_mut()) };
            });
            UNDER_WAY.fetch_add(1, Ordering::SeqCst);
            Self { _private: () }
        }
    }

    impl Drop for Asking {
        fn drop(&mut self) {
            UNDER_WAY.fetch_sub(1, Ordering::SeqCst);
        }
    }

    extern "C" fn end_at_once(status: c_int, _: *mut c_void) {
        if UNDER_WAY.load(Ordering::SeqCst) > 0 {
            // SAFETY: it ends the process as the caller of `exit` wants, without closing libraries.
            unsafe { _exit(status) }
        }
    }
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
impl Asking {
    pub(super) fn begin() -> Self {
        Self { _private: () }
    }
}
