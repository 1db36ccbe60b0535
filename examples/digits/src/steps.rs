//! What training asks of the model: a step with gradients, and one of validation.
//!
//! burn's traits for this crate's type, so they cannot stand in the training program.

use burn::nn::loss::CrossEntropyLossConfig;
use burn::train::{ClassificationOutput, InferenceStep, TrainOutput, TrainStep};

use crate::dataset::Batch;
use crate::model::Digits;

impl Digits {
    fn compare(&self, batch: Batch) -> ClassificationOutput {
        let output = self.forward(batch.images);
        let loss = CrossEntropyLossConfig::new()
            .init(&output.device())
            .forward(output.clone(), batch.labels.clone());
        ClassificationOutput::new(loss, output, batch.labels)
    }
}

impl TrainStep for Digits {
    type Input = Batch;
    type Output = ClassificationOutput;

    fn step(&self, batch: Batch) -> TrainOutput<ClassificationOutput> {
        let item = self.compare(batch);
        TrainOutput::new(self, item.loss.backward(), item)
    }
}

impl InferenceStep for Digits {
    type Input = Batch;
    type Output = ClassificationOutput;

    fn step(&self, batch: Batch) -> ClassificationOutput {
        self.compare(batch)
    }
}
