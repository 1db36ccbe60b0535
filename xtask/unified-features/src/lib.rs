//! Nothing: the manifest is what this crate is for. It turns on, in the crates of others, what all features
//! of the workspace turn on in them, so that `cargo xtask check` has those checked once.
