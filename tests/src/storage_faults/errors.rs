//! Linux's numbers of the errors that storage gives.

/// The user may not do that.
pub const EPERM: i32 = 1;
/// There is no such file.
pub const ENOENT: i32 = 2;
/// The disk does not do it.
pub const EIO: i32 = 5;
/// The file is not open for that.
pub const EBADF: i32 = 9;
/// The user may not do that here.
pub const EACCES: i32 = 13;
/// On another file system.
pub const EXDEV: i32 = 18;
/// The file system does not know of it.
pub const EINVAL: i32 = 22;
/// The disk is full.
pub const ENOSPC: i32 = 28;
/// The file system became one to read from only.
pub const EROFS: i32 = 30;
/// The file has all the names that it may have.
pub const EMLINK: i32 = 31;
/// There are no locks.
pub const ENOLCK: i32 = 37;
/// There is no such call.
pub const ENOSYS: i32 = 38;
/// The file system cannot do it.
pub const ENOTSUP: i32 = 95;
/// A network's file system has lost the file.
pub const ESTALE: i32 = 116;
/// The quota is used up.
pub const EDQUOT: i32 = 122;
