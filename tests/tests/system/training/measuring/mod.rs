//! What a run says of its speed and of its model.

mod model_summary;
mod speed;
