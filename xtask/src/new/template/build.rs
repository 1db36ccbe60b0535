//! Records what the programs are built from, for the metadata of the checkpoints.

fn main() {
    #[cfg(feature = "train")]
    burn_environment_build::describe_program();
}
