//! The gradients that a callback sees and changes, and the guard.

use std::sync::Arc;

use burn::module::{ModuleVisitor, Param};
use burn::tensor::Tensor;
use burn_trainer::Error;
use burn_trainer::callbacks::{
    Callback, CallbackContext, CallbackResult, GradientGuard, GradientMapper, Gradients, NonFinite,
};
use parking_lot::Mutex;
use system_tests::models::small::{Model, Poison, Script, config, train_by};
use system_tests::run_files::in_memory;

/// Every element of the gradients.
fn elements(gradients: &Gradients<'_, Model>, model: &Model) -> Vec<f64> {
    struct Read<'a, 'b>(&'a Gradients<'b, Model>, Vec<f64>);
    impl ModuleVisitor for Read<'_, '_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if let Some(gradient) = self.0.get::<D>(param.id) {
                self.1.extend(gradient.into_data().iter::<f64>());
            }
        }
    }
    let mut read = Read(gradients, Vec::new());
    burn::module::Module::visit(model, &mut read);
    read.1
}

type Notes = Arc<Mutex<Vec<Vec<f64>>>>;

/// Notes the gradients as they are after the callbacks before it.
struct Noting(Notes);

impl Callback<Model> for Noting {
    fn name(&self) -> String {
        "noting".to_owned()
    }

    fn on_before_optimizer_step(
        &mut self,
        context: &mut CallbackContext<'_, Model>,
        gradients: &mut Gradients<'_, Model>,
    ) -> CallbackResult {
        let all = elements(gradients, &context.model());
        let norm = gradients.norm().unwrap().into_scalar::<f64>();
        let expected = l2(&all);
        assert!((norm - expected).abs() <= 1e-5 * expected, "{norm} {expected}");
        self.0.lock().push(all);
        Ok(())
    }
}

fn l2(values: &[f64]) -> f64 {
    values.iter().map(|value| value * value).sum::<f64>().sqrt()
}

fn noted(guard: Option<GradientGuard>) -> Vec<Vec<f64>> {
    let root = in_memory();
    let notes = Notes::default();
    let result = train_by(config(root.path(), 1), Script::default(), |trainer| {
        let trainer = match guard {
            Some(guard) => trainer.callback(guard),
            None => trainer,
        };
        trainer.callback(Noting(Arc::clone(&notes)))
    });
    result.unwrap();
    let notes = notes.lock();
    notes.clone()
}

#[test]
fn all_gradients_together_are_limited() {
    let free = noted(None);
    // Of the first step: the later ones follow other parameters.
    let (norm, most) = (l2(&free[0]), free[0].iter().fold(0.0_f64, |most, value| most.max(value.abs())));
    let limited = noted(Some(GradientGuard::new().with_clip_norm(norm / 4.0)));
    for (free, limited) in free[0].iter().zip(&limited[0]) {
        assert!((free / 4.0 - limited).abs() <= 1e-5 * norm, "{free} {limited}");
    }
    assert!(limited.iter().all(|step| l2(step) <= norm / 4.0 * 1.0001));
    let clamped = noted(Some(GradientGuard::new().with_clip_value(most / 2.0)));
    for (free, clamped) in free[0].iter().zip(&clamped[0]) {
        assert!((free.clamp(-most / 2.0, most / 2.0) - clamped).abs() <= 1e-6 * most, "{free} {clamped}");
    }
    // A limit above every norm changes no bit.
    let highest = free.iter().map(|step| l2(step)).fold(0.0, f64::max);
    assert_eq!(noted(Some(GradientGuard::new().with_clip_norm(highest * 2.0))), free);
}

/// Notes the paths of the gradients.
struct Paths(Arc<Mutex<Vec<String>>>);

impl GradientMapper for Paths {
    fn map<const D: usize>(&mut self, path: &str, gradient: Tensor<D>) -> Tensor<D> {
        self.0.lock().push(path.to_owned());
        gradient
    }
}

impl Callback<Model> for Paths {
    fn name(&self) -> String {
        "paths".to_owned()
    }

    fn on_before_optimizer_step(
        &mut self,
        context: &mut CallbackContext<'_, Model>,
        gradients: &mut Gradients<'_, Model>,
    ) -> CallbackResult {
        if context.batch() == 1 {
            gradients.map(self);
        }
        Ok(())
    }
}

#[test]
fn each_gradient_is_shown_once_with_the_path_of_its_parameter() {
    let root = in_memory();
    let paths = Arc::default();
    let noting = Paths(Arc::clone(&paths));
    train_by(config(root.path(), 1), Script::default(), |trainer| trainer.callback(noting)).unwrap();
    let expected = ["input.weight", "input.bias", "norm.gamma", "norm.beta", "output.weight", "output.bias"];
    assert_eq!(*paths.lock(), expected);
}

fn guarded(batches: &[u64], value: f32, non_finite: NonFinite) -> burn_trainer::Result<(u64, f64)> {
    let root = in_memory();
    let steps: Vec<(u64, u64)> = batches.iter().map(|batch| (0, *batch)).collect();
    let poison = Poison::new(&steps, value);
    let result = train_by(config(root.path(), 1), Script::default(), |trainer| {
        trainer.callback(poison).callback(GradientGuard::new().with_non_finite(non_finite))
    })?;
    Ok((result.global_step, result.metrics["train_loss"]))
}

#[test]
fn gradients_that_are_not_finite_are_an_error_that_names_the_step_and_its_batches() {
    for value in [f32::NAN, f32::INFINITY] {
        let error = guarded(&[4], value, NonFinite::Error).unwrap_err();
        let Error::Callback { name, source, saved, .. } = error else { panic!("{error}") };
        let text = source.to_string();
        assert!(name == "gradient_guard" && text.contains("step 4 (batches 4 to 4 of the epoch)"), "{text}");
        assert!(saved.unwrap().to_string_lossy().contains("on_exception"));
    }
}

#[test]
fn or_the_step_is_left_out_so_many_times_in_a_row() {
    let skip = NonFinite::Skip { most_in_a_row: 2 };
    let (steps, loss) = guarded(&[3, 4, 6], f32::NAN, skip).unwrap();
    assert_eq!(steps, 7);
    assert!(loss.is_finite());
    let error = guarded(&[3, 4, 5], f32::NAN, skip).unwrap_err();
    let Error::Callback { source, .. } = error else { panic!("{error}") };
    assert!(source.to_string().contains("after 2 steps in a row that were left out"), "{source}");
    assert!(guarded(&[3], f32::NAN, NonFinite::Off).unwrap().1.is_nan());
}

#[test]
fn limits_that_cannot_be_are_errors_before_the_first_step() {
    for guard in [GradientGuard::new().with_clip_norm(0.0), GradientGuard::new().with_clip_value(f64::NAN)] {
        let root = in_memory();
        let result = train_by(config(root.path(), 1), Script::default(), |trainer| trainer.callback(guard));
        assert!(matches!(result, Err(Error::Callback { method: "on_fit_start", .. })));
    }
}
