//! The line that says how a run is resumed, for code that does not know how the program was started.

use std::path::Path;
use std::sync::OnceLock;

use crate::config::TrainerConfig;

/// Makes the line from the run's configuration and the number of epochs.
type MakeLine = fn(&TrainerConfig, usize) -> String;

static LINE: OnceLock<MakeLine> = OnceLock::new();

/// The program has the flags of `cli::TrainArgs`.
#[cfg_attr(not(feature = "cli"), expect(dead_code, reason = "`cli` calls it"))]
pub(crate) fn set(line: MakeLine) {
    let _ = LINE.set(line);
}

/// The program with these flags as this process was started: its absolute path, or its name where a shell
/// finds it. `None` for a program without them.
pub(crate) fn program() -> Option<String> {
    LINE.get()?;
    let program = std::env::args_os().next()?;
    let is_found_by_name = Path::new(&program).components().count() == 1;
    let path = if is_found_by_name { program.into() } else { std::path::absolute(program).ok()? };
    path.into_os_string().into_string().ok()
}

/// The line for a run.
pub(crate) fn line(config: &TrainerConfig, epochs: usize) -> String {
    match LINE.get() {
        Some(line) => line(config, epochs),
        None => {
            let run_id = config.run_id.as_deref().unwrap_or_default();
            format!("resume: set ckpt_path to \"auto\" and run_id to {run_id:?}")
        }
    }
}
