//! The programs of the workspace: the examples, their flags, a project of one's own, the benchmark, and the
//! documents that show them.

mod bench;
mod char_lm;
mod command_line;
mod documents;
mod finetune;
mod gpu_day;
mod minimal;
mod native_inference;
mod new_project;
mod recipes;
mod set_keys;
