//! `predict`: a model's outputs in the order of the data, computed one batch at a time.

use burn::tensor::Tensor;
use burn::train::InferenceStep;
use burn_trainer::evaluation::{ModelEvaluator, predict};
use burn_trainer::{Error, ResumableDataLoader};
use system_tests::backend;
use system_tests::models::small::{ItemBatcher, Script, items, learner, loader};

fn values(output: Tensor<2>) -> Vec<f32> {
    output.into_data().iter::<f32>().collect()
}

#[test]
fn the_outputs_are_those_of_the_validation_step_in_the_datas_order_in_each_pass() {
    let model = learner(Script::default()).model();
    let data = ResumableDataLoader::builder(ItemBatcher).batch_size(7).num_workers(2).build(items());
    let model_in_validation = burn::module::Module::valid(&model);
    let expected: Vec<Vec<f32>> = data
        .to_device(&backend::device())
        .iter()
        .map(|batch| values(model_in_validation.step(batch.unwrap()).output))
        .collect();
    assert_eq!((expected.len(), expected[11].len()), (12, 3));
    let predictions = predict(&model, data.clone());
    for _ in 0..2 {
        let outputs: Vec<_> = predictions.iter().map(|output| values(output.unwrap().output)).collect();
        assert_eq!(outputs, expected);
    }
    let of_evaluator = ModelEvaluator::new(&model).predict(data);
    assert!((&of_evaluator).into_iter().map(|output| values(output.unwrap().output)).eq(expected));
}

#[test]
fn a_batch_is_computed_when_it_is_reached() {
    // A step that panics is never reached.
    let panicking = learner(Script { panic_in_validation: Some(4), ..Script::default() }).model();
    let predictions = predict(&panicking, loader(&Script::default()));
    assert_eq!(predictions.iter().take(3).filter(Result::is_ok).count(), 3);
}

#[test]
fn an_error_of_the_loader_is_the_last_item() {
    let model = learner(Script::default()).model();
    let failing = loader(&Script { loader_fails_at: Some(3), ..Script::default() });
    let predictions = predict(&model, failing);
    let outputs: Vec<_> = predictions.iter().collect();
    assert_eq!(outputs.len(), 3);
    assert!(outputs[..2].iter().all(Result::is_ok));
    let Some(Err(Error::Evaluation { part, .. })) = outputs.last() else { panic!() };
    assert_eq!(part, "the data loader");
}
