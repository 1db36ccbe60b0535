//! An observer that keeps what every operation did.
