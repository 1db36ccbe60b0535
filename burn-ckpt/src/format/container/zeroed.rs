//! Memory for what a file claims to have: too little of it is an error, where `vec!` would end the process.

use std::io::{self, ErrorKind};

/// So many zeros.
///
/// # Errors
///
/// [`ErrorKind::OutOfMemory`] when there is not enough memory.
pub fn zeroed<T: Copy + Default>(length: usize) -> io::Result<Vec<T>> {
    Vec::<T>::new().try_reserve_exact(length).map_err(|_| io::Error::from(ErrorKind::OutOfMemory))?;
    // Not resized, which would write each zero: the system gives pages of zeros.
    Ok(vec![T::default(); length])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_than_there_is_is_an_error() {
        for length in [1 << 50, usize::MAX] {
            assert_eq!(zeroed::<u64>(length).unwrap_err().kind(), ErrorKind::OutOfMemory);
        }
        assert_eq!(zeroed::<u16>(3).unwrap(), [0; 3]);
    }
}
