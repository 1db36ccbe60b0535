//! A scheduler whose rate can be scaled from outside.
//!
//! A learner owns its scheduler, and burn has no method to reach it. So the scale is in a thread-local cell
//! while the loop asks the learner for its next rate.

use std::cell::Cell;

use burn::lr_scheduler::{LrScheduler, LrSchedulerRecord};

#[derive(Clone, Copy)]
struct Scale {
    factor: f64,
    is_applied: bool,
}

const NONE: Scale = Scale { factor: 1.0, is_applied: false };

thread_local! {
    static SCALE: Cell<Scale> = const { Cell::new(NONE) };
}

/// Runs `step`, in which schedulers give their next rate, with a scale. Returns whether one of them is a
/// [`Scaled`] one, and has applied it.
pub(crate) fn with_scale(factor: f64, step: impl FnOnce()) -> bool {
    /// Ends the scale also after a panic.
    struct End;
    impl Drop for End {
        fn drop(&mut self) {
            SCALE.set(NONE);
        }
    }
    SCALE.set(Scale { factor, is_applied: false });
    let _end = End;
    step();
    SCALE.get().is_applied
}

/// A scheduler of which callbacks can scale the rate. Made by [`scaled`].
#[derive(Debug, Clone)]
pub struct Scaled<S> {
    scheduler: S,
}

/// Lets callbacks scale the rate of a scheduler, or a constant rate
/// ([`CallbackContext::scale_learning_rate`](crate::callbacks::CallbackContext::scale_learning_rate)).
///
/// ```
/// use burn_trainer::lr_scheduler::{WarmupCosine, scaled};
///
/// let constant = scaled(1e-3);
/// let cosine = scaled(WarmupCosine::new(3e-4, 10_000).with_warmup_steps(500));
/// ```
pub fn scaled<S: LrScheduler + Clone + 'static>(scheduler: S) -> Scaled<S> {
    Scaled { scheduler }
}

impl<S: LrScheduler + Clone + 'static> LrScheduler for Scaled<S> {
    fn step(&mut self) -> f64 {
        let Scale { factor, .. } = SCALE.get();
        // One scale, however many of these are within each other.
        SCALE.set(NONE);
        let rate = self.scheduler.step();
        SCALE.set(Scale { factor, is_applied: true });
        rate * factor
    }

    fn to_record(&self) -> LrSchedulerRecord {
        self.scheduler.to_record()
    }

    fn load_record(&mut self, record: LrSchedulerRecord) {
        self.scheduler.load_record(record);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scale_holds_for_its_step_alone_and_says_whether_it_was_used() {
        let (mut free, mut scalable) = (0.5, scaled(0.5));
        let mut rates = Vec::new();
        assert!(!with_scale(0.1, || rates.push(free.step())));
        assert!(with_scale(0.1, || rates.push(scalable.step())));
        rates.push(scalable.step());
        assert_eq!(rates, [0.5, 0.05, 0.5]);
        let mut twice = scaled(scaled(0.5));
        assert!(with_scale(0.1, || rates.push(twice.step())));
        assert_eq!(rates.last(), Some(&0.05));
    }
}
