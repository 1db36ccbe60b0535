//! An optimizer whose state is saved tensor by tensor.
//!
//! burn's record of an optimizer's state reads every tensor and gives one buffer of everything. On a CPU the
//! state is then in memory three times, and has been copied four times. But burn asks the optimizer's own
//! state type for its parts. So an optimizer in a [`Streamed`] gives a save its tensors unread: a handle
//! each, from which the writer reads as it does from the model's.

use std::cell::{Cell, RefCell};
use std::sync::Once;

use burn::optim::{LearningRate, Optimizer, RecordState, StateSink, StateSource, join_path};
use burn::tensor::kind::Basic;
use burn::tensor::{Device, Tensor};
use burn_ckpt::Section;
use burn_ckpt::burn_pack::{self, Scalar};
use burn_ckpt::plumbing::ReadTiming;

/// An optimizer that lists the tensors of its state.
///
/// burn's optimizers do. For your own optimizer an empty `impl` is enough: its state is then read at once, as
/// burn reads it, and what is spared is the buffer of everything.
///
/// [`Streamed`] has an example.
pub trait StateTensors: Optimizer {
    /// Hands over each part of the state of one parameter, under the name that its [`RecordState`] gives it.
    fn state_tensors<const D: usize>(state: &Self::State<D>, parts: &mut StateParts<'_>) {
        parts.everything(state);
    }
}

/// Makes an optimizer's state cheap to save: its tensors are read one by one, as they are written.
///
/// It computes what the optimizer computes, and stores its state as the optimizer does: checkpoints are the
/// same to the byte, and runs resume with it or without. [`InitStreamed`](crate::optimizer::InitStreamed)
/// wraps burn's optimizers. Wrap one by hand for a parameter group:
///
/// ```
/// use burn::module::ParamGroup;
/// use burn::optim::{AdamConfig, MuonConfig};
/// use burn_trainer::optimizer::{InitStreamed, Streamed};
///
/// let adam = AdamConfig::new().init_streamed();
/// let matrix = ParamGroup::from_path("hidden.weight");
/// let optimizer = adam.with_group(matrix, Streamed(MuonConfig::new().build()), None);
/// ```
#[derive(Debug, Clone)]
pub struct Streamed<O>(pub O);

/// The state of one parameter in a [`Streamed`].
///
/// [`Streamed`] has an example.
pub struct StreamedState<O: Optimizer, const D: usize>(O::State<D>);

impl<O: StateTensors> Optimizer for Streamed<O> {
    type State<const D: usize> = StreamedState<O, D>;

    fn step<const D: usize>(
        &self,
        lr: LearningRate,
        tensor: Tensor<D>,
        grad: Tensor<D>,
        state: Option<Self::State<D>>,
    ) -> (Tensor<D>, Option<Self::State<D>>) {
        // Taken out meanwhile, as a streamed optimizer inside this one is a part of it.
        let watched = STATES_OF_STEP.take();
        let (tensor, state) = self.0.step(lr, tensor, grad, state.map(|StreamedState(state)| state));
        if let Some(states) = watched {
            let mut states = states.unwrap_or_default();
            if let Some(state) = &state {
                add_parts::<O, D>(state, &mut states);
            }
            STATES_OF_STEP.set(Some(Some(states)));
        }
        (tensor, state.map(StreamedState))
    }

    fn to_device<const D: usize>(StreamedState(state): Self::State<D>, device: &Device) -> Self::State<D> {
        StreamedState(O::to_device(state, device))
    }
}

impl<O: StateTensors> StateTensors for Streamed<O> {
    fn state_tensors<const D: usize>(StreamedState(state): &Self::State<D>, parts: &mut StateParts<'_>) {
        O::state_tensors(state, parts);
    }
}

impl<O: Optimizer, const D: usize> Clone for StreamedState<O, D> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<O: StateTensors, const D: usize> RecordState for StreamedState<O, D> {
    fn state_flatten(&self, prefix: &str, out: &mut StateSink) {
        // Taken out meanwhile: a streamed state inside this one is flattened by this one alone.
        let collecting = COLLECTING.take();
        match (collecting, prefix.parse()) {
            (Some(mut collecting), Ok(param_id)) => {
                let StateCollection { section, reading } = &mut collecting;
                let prefix = prefix.to_owned();
                let mut parts = StateParts { param_id, prefix, section, scalars: out, reading: *reading };
                O::state_tensors(&self.0, &mut parts);
                COLLECTING.set(Some(collecting));
            }
            // The record is for another purpose than a save.
            (collecting, _) => {
                self.0.state_flatten(prefix, out);
                COLLECTING.set(collecting);
            }
        }
    }

    fn state_unflatten(prefix: &str, src: &mut StateSource, device: &Device) -> Option<Self> {
        let of_model = MODEL_DEVICE.with_borrow(Clone::clone);
        O::State::state_unflatten(prefix, src, of_model.as_ref().unwrap_or(device)).map(Self)
    }
}

/// Where an optimizer hands over the parts of one parameter's state.
///
/// [`Streamed`] has an example.
pub struct StateParts<'a> {
    param_id: u64,
    prefix: String,
    section: &'a mut Section,
    scalars: &'a mut StateSink,
    reading: ReadTiming,
}

impl std::fmt::Debug for StateParts<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StateParts").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

impl StateParts<'_> {
    /// A tensor of the state, by the name of its field.
    pub fn tensor<const D: usize, K: Basic>(&mut self, field: &str, tensor: &Tensor<D, K>)
    where
        Tensor<D, K>: Send + 'static,
    {
        let (name, tensor) = (join_path(&self.prefix, field), tensor.clone());
        match self.reading {
            ReadTiming::Later => self.section.push(name, self.param_id, tensor),
            ReadTiming::Now => self.section.push_at_once(name, self.param_id, tensor),
        }
    }

    /// A number or a flag.
    pub fn scalar(&mut self, field: &str, value: impl Into<Scalar>) {
        self.scalars.push_scalar(&self.prefix, field, value.into());
    }

    /// The parts of a field that is a state itself.
    pub fn within(&mut self, field: &str) -> StateParts<'_> {
        StateParts {
            param_id: self.param_id,
            prefix: join_path(&self.prefix, field),
            section: self.section,
            scalars: self.scalars,
            reading: self.reading,
        }
    }

    /// All parts of a state. Its tensors are read at once. For states whose fields are private.
    pub fn everything(&mut self, state: &impl RecordState) {
        let mut read = StateSink::default();
        state.state_flatten(&self.prefix, &mut read);
        for (name, data) in read.tensors {
            let (bytes, shape, dtype) = data.into_parts();
            self.section.tensors.push(burn_pack::Tensor::new(name, dtype, shape, Some(self.param_id), bytes));
        }
        self.scalars.scalars.extend(read.scalars);
    }
}

/// Calls a function when it is dropped, also after a panic: what a thread was told must not stay for its next
/// optimizer.
struct AtEnd(fn());

impl Drop for AtEnd {
    fn drop(&mut self) {
        (self.0)();
    }
}

thread_local! {
    /// burn's calls from a learner to the states of its optimizer take no argument of ours, so the collection
    /// is here.
    static COLLECTING: Cell<Option<StateCollection>> = const { Cell::new(None) };
}

struct StateCollection {
    section: Section,
    reading: ReadTiming,
}

/// Runs `record`, which makes burn's record of an optimizer, on this thread. Returns the record and the
/// tensors of the [`Streamed`] states, which the record then lacks.
pub(crate) fn collect_streamed<T>(reading: ReadTiming, record: impl FnOnce() -> T) -> (T, Section) {
    COLLECTING.set(Some(StateCollection { section: Section::default(), reading }));
    let _end = AtEnd(|| COLLECTING.set(None));
    let record = record();
    let collected = COLLECTING.take();
    (record, collected.map(|collecting| collecting.section).unwrap_or_default())
}

thread_local! {
    /// Where the states are restored that burn would put onto its default device: a GPU that the program does
    /// not train on, or that is not there.
    static MODEL_DEVICE: RefCell<Option<Device>> = const { RefCell::new(None) };
}

/// Runs `load`, which loads burn's record of an optimizer, on this thread. The [`Streamed`] states are
/// restored on `device`, without autodiff.
pub(crate) fn restore_streamed_on<T>(device: Device, load: impl FnOnce() -> T) -> T {
    MODEL_DEVICE.set(Some(device.inner()));
    let _end = AtEnd(|| MODEL_DEVICE.set(None));
    load()
}

thread_local! {
    /// The states after the steps of [`Streamed`] optimizers, while a save collects them. The inner one is
    /// `None` before the first step.
    static STATES_OF_STEP: Cell<Option<Option<Section>>> = const { Cell::new(None) };
}

/// Runs a step on this thread, and returns the tensors of the states that its [`Streamed`] optimizers have
/// then. `None` if it has no such optimizer.
pub(crate) fn states_of_step(step: impl FnOnce()) -> Option<Section> {
    STATES_OF_STEP.set(Some(None));
    let _end = AtEnd(|| STATES_OF_STEP.set(None));
    step();
    STATES_OF_STEP.take().flatten()
}

/// Adds the tensors of one parameter's state.
fn add_parts<O: StateTensors, const D: usize>(state: &O::State<D>, section: &mut Section) {
    let mut scalars = StateSink::default();
    let (prefix, scalars) = (String::new(), &mut scalars);
    O::state_tensors(
        state,
        &mut StateParts { param_id: 0, prefix, section, scalars, reading: ReadTiming::Later },
    );
}

/// Below this size, copying takes no noticeable time.
const WORTH_STREAMING_BYTES: usize = 64 * 1024 * 1024;

/// Logs once what streaming the optimizer would save, where burn's record of it is large.
pub(crate) fn advise_streaming(record: &Section) {
    static SAID: Once = Once::new();
    if let Some(advice) = advice(record.tensors.iter().map(burn_pack::Tensor::byte_len).sum()) {
        SAID.call_once(|| log::info!("{advice}"));
    }
}

fn advice(copied: usize) -> Option<String> {
    (copied >= WORTH_STREAMING_BYTES).then(|| {
        format!(
            "every save copies {} MB of the optimizer's state: `init_streamed()` (burn_trainer::optimizer::InitStreamed) in place of \
             `init()` hands its tensors over one by one",
            copied / 1_000_000
        )
    })
}

#[cfg(test)]
mod tests {
    use burn::nn::{Linear, LinearConfig};
    use burn::optim::momentum::MomentumConfig;
    use burn::optim::{Adam, AdamConfig, GradientsParams, ModuleOptimizer, SgdConfig};

    use super::*;
    use crate::optimizer::InitStreamed;

    /// After one step.
    fn stepped(mut optimizer: ModuleOptimizer) -> ModuleOptimizer {
        let device = Device::flex().autodiff();
        let model: Linear = LinearConfig::new(2, 3).init(&device);
        let grads = model.forward(Tensor::<2>::ones([1, 2], &device)).sum().backward();
        let grads = GradientsParams::from_grads(grads, &model);
        drop(optimizer.step(1e-3, model, grads));
        optimizer
    }

    #[test]
    fn a_save_gets_handles_and_burns_record_lacks_them() {
        for reading in [ReadTiming::Later, ReadTiming::Now] {
            let optimizer = stepped(AdamConfig::new().init_streamed());
            let (record, section) = collect_streamed(reading, || optimizer.to_record());
            assert!(record.is_empty(), "burn read no tensor");
            // Of the weight and the bias, two moments each.
            let mut bytes: Vec<usize> = section.tensors.iter().map(burn_pack::Tensor::byte_len).collect();
            bytes.sort_unstable();
            assert_eq!(bytes, [12, 12, 24, 24]);
        }
    }

    #[test]
    fn other_records_are_complete() {
        let optimizer = stepped(AdamConfig::new().init_streamed());
        assert_eq!(optimizer.to_record().len(), 4);
        // On another thread, while this one collects.
        let (there, _) = collect_streamed(ReadTiming::Later, || {
            std::thread::scope(|scope| scope.spawn(|| optimizer.to_record().len()).join().unwrap())
        });
        assert_eq!(there, 4);
        // After a collection that panicked.
        let panicked =
            std::panic::catch_unwind(|| collect_streamed(ReadTiming::Later, || panic!("it was told to")));
        assert!(panicked.is_err());
        assert_eq!(optimizer.to_record().len(), 4);
    }

    /// A user's optimizer around a streamed one. It does not list its parts.
    #[derive(Clone)]
    struct Halved(Streamed<Adam>);

    impl Optimizer for Halved {
        type State<const D: usize> = StreamedState<Adam, D>;

        fn step<const D: usize>(
            &self,
            lr: LearningRate,
            tensor: Tensor<D>,
            grad: Tensor<D>,
            state: Option<Self::State<D>>,
        ) -> (Tensor<D>, Option<Self::State<D>>) {
            self.0.step(lr / 2.0, tensor, grad, state)
        }

        fn to_device<const D: usize>(state: Self::State<D>, device: &Device) -> Self::State<D> {
            Streamed::<Adam>::to_device(state, device)
        }
    }

    impl StateTensors for Halved {}

    #[test]
    fn a_users_optimizer_does_not_have_to_list_its_parts() {
        let halved = Streamed(Halved(Streamed(AdamConfig::new().build())));
        let optimizer = stepped(ModuleOptimizer::from(halved));
        let (record, section) = collect_streamed(ReadTiming::Later, || optimizer.to_record());
        assert!(record.is_empty());
        let names = |section: &Section| {
            let mut names: Vec<String> = section.shapes().map(|(name, _)| name.to_owned()).collect();
            names.sort();
            names
        };
        let burns = Section::from_burnpack(optimizer.to_record().into_bytes().unwrap()).unwrap();
        assert_eq!(names(&section), names(&burns));
    }

    #[test]
    fn advice_is_given_where_much_is_copied() {
        assert_eq!(advice(0), None);
        assert_eq!(advice(WORTH_STREAMING_BYTES - 1), None);
        let advice = advice(840_000_000).unwrap();
        assert!(advice.contains("840 MB") && advice.contains("init_streamed()"), "{advice}");
    }

    #[test]
    fn private_states_are_read_and_not_put_into_the_record() {
        let momentum = SgdConfig::new().with_momentum(Some(MomentumConfig::new()));
        let optimizer = stepped(momentum.init_streamed());
        let (record, section) = collect_streamed(ReadTiming::Later, || optimizer.to_record());
        assert!(record.is_empty());
        let mut shapes: Vec<Vec<usize>> = section.shapes().map(|(_, shape)| shape.to_vec()).collect();
        shapes.sort();
        assert_eq!(shapes, [vec![2, 3], vec![3]]);
    }
}
