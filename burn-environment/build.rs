//! Has to do for programs without a build script of their own; see `src/packages.rs`.

fn main() {
    burn_environment_build::describe_workspace();
}
