//! The macro `program!`, by which a program registers what its build script wrote.

/// Makes what the program's build script found out part of every [`Environment`](crate::Environment) of this
/// process.
///
/// The first line of `main`, in a program whose build script calls
/// `burn_environment_build::describe_program`.
#[macro_export]
macro_rules! program {
    () => {
        $crate::plumbing::register_program(include_str!(concat!(
            env!(
                "OUT_DIR",
                "program!() needs a build script that calls burn_environment_build::describe_program"
            ),
            "/burn-environment.json"
        )))
    };
}
