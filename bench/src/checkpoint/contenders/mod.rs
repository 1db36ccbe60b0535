//! What each contender does in its process: training loops that save, loading, and the limits of the machine.

pub mod burn_loop;
pub mod loading;
pub mod loop_without_saves;
pub mod machine_limits;
pub mod plain_write;
pub mod trainer;
pub(crate) mod training_model;
