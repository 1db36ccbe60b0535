//! `--backend` and `--autotune`, which decide what is built; the programs get the flag without `auto`.

use std::process::ExitCode;

use crate::gpu::{self, Choice};
use crate::usage::wrong_usage;

const BACKENDS: [&str; 4] = ["flex", "wgpu", "vulkan", "cuda"];

/// A backend, and the arguments that are none of its flags.
#[derive(Debug, PartialEq)]
pub struct Backend {
    pub name: String,
    autotune: bool,
    pub rest: Vec<String>,
}

impl Backend {
    /// Takes the flags out of a command's arguments, and looks for a GPU where they leave that open.
    pub fn taken_from(arguments: &[String]) -> Result<Self, String> {
        Self::chosen(arguments, gpu::choose)
    }

    /// Does a verb's work with the backend that the flags choose, or reports wrong usage.
    pub fn take_for(arguments: &[String], work: impl FnOnce(Self) -> ExitCode) -> ExitCode {
        Self::taken_from(arguments).map_or_else(|message| wrong_usage(&message), work)
    }

    pub fn chosen(arguments: &[String], choose: fn() -> Choice) -> Result<Self, String> {
        let mut arguments = arguments.iter();
        let mut backend = Self { name: "auto".to_owned(), autotune: false, rest: Vec::new() };
        while let Some(argument) = arguments.next() {
            if argument == "--backend" {
                arguments.next().ok_or("--backend needs a name")?.clone_into(&mut backend.name);
            } else if let Some(name) = argument.strip_prefix("--backend=") {
                name.clone_into(&mut backend.name);
            } else if argument == "--autotune" {
                backend.autotune = true;
            } else {
                backend.rest.push(argument.clone());
            }
        }
        if backend.name == "auto" {
            let choice = choose();
            eprintln!("{}", choice.why);
            choice.backend.clone_into(&mut backend.name);
        }
        match BACKENDS.contains(&backend.name.as_str()) {
            true => Ok(backend),
            false => Err(format!(
                "there is no backend {:?}; there are auto, {}",
                backend.name,
                BACKENDS.join(", ")
            )),
        }
    }

    /// The flag for a program that is built with it, and the other arguments.
    pub fn program_arguments(self) -> impl Iterator<Item = String> {
        ["--backend".to_owned(), self.name].into_iter().chain(self.rest)
    }

    /// The features of a package that it needs beside the default ones.
    pub fn features(&self, package: &str) -> Vec<String> {
        let backend = (self.name != "flex").then(|| format!("{package}/{}", self.name));
        let autotune = self.autotune.then(|| format!("{package}/autotune"));
        backend.into_iter().chain(autotune).collect()
    }
}
