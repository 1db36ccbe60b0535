//! Watching a run that another process trains: by the library, and by the program `burn-ckpt`.

mod library;
mod program;
mod retention;
