//! The optimizer steps of one size: how long they take, and the wait for the device that does them.

use std::time::Instant;

use burn::module::{ModuleVisitor, Param};
use burn::tensor::{DType, Tensor, TensorReadError};
use burn::train::{Learner, LearnerModel};

/// The steps of a trial so far.
pub(super) struct Steps<M: LearnerModel> {
    done: u64,
    /// The end of the first.
    timed: Option<Instant>,
    /// Batches and time of those after the first.
    pub(super) batches: usize,
    pub(super) seconds: f64,
    /// A copy of the state as a save holds it while the next step is done: tensors are copied on write.
    pub(super) saved: Option<Learner<M>>,
}

impl<M: LearnerModel> Steps<M> {
    pub(super) fn new() -> Self {
        Self { done: 0, timed: None, batches: 0, seconds: 0.0, saved: None }
    }

    /// Adds a step. Returns how many are done.
    pub(super) fn add(&mut self, batches: usize, learner: &Learner<M>) -> Result<u64, TensorReadError> {
        wait_for(&learner.model())?;
        self.done += 1;
        match self.timed {
            None => self.timed = Some(Instant::now()),
            Some(begun) => {
                (self.batches, self.seconds) = (self.batches + batches, begun.elapsed().as_secs_f64())
            }
        }
        Ok(self.done)
    }
}

/// Reads a number of each parameter. A device computes later, and reports a lack of memory only when
/// a tensor is read that was to be computed; each parameter follows from the whole step.
fn wait_for<M: LearnerModel>(model: &M) -> Result<(), TensorReadError> {
    struct FirstNumbers(Vec<Tensor<1>>);

    impl ModuleVisitor for FirstNumbers {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let tensor = param.val().inner();
            if tensor.shape().num_elements() > 0 {
                let first = tensor.slice(std::array::from_fn::<_, D, _>(|_| 0..1)).reshape([1]);
                self.0.push(first.cast(DType::F32));
            }
        }
    }

    let mut numbers = FirstNumbers(Vec::new());
    model.visit(&mut numbers);
    if !numbers.0.is_empty() {
        Tensor::cat(numbers.0, 0).try_into_data()?;
    }
    Ok(())
}
