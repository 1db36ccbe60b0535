//! Records what the program is built from, for the metadata of its checkpoints.

fn main() {
    // The library alone is part of other programs.
    #[cfg(feature = "train")]
    burn_environment_build::describe_program();
}
