//! Schedulers of the learning rate, beside burn's.
//!
//! | scheduler | |
//! |---|---|
//! | [`WarmupCosine`] | rises from a first step to its top, falls along a cosine, and stays at its floor |
//! | [`scaled`] | any other scheduler, with a rate that callbacks can scale: [`ReduceOnPlateau`](crate::callbacks::ReduceOnPlateau) does |
//!
//! Their state is the number of steps done. So a run that is resumed with a longer schedule continues at the
//! rate that the longer one has there. burn's linear schedule stores the steps that are left: its rate jumps.
//! Whenever the rate of the first step after a resume is another one than the saved run would have had, a
//! warning gives both.

mod scaled;
mod warmup_cosine;

pub(crate) use scaled::with_scale;
pub use scaled::{Scaled, scaled};
pub use warmup_cosine::WarmupCosine;
