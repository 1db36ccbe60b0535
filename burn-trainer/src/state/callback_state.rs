//! What callbacks store in a checkpoint: a section each, with a version.

use std::fmt;
use std::sync::Arc;

use burn::module::Module;
use burn::store::ModuleRecord;
use burn_ckpt::Section;
use burn_ckpt::plumbing::{MAX_JSON_VALUES, ReadTiming, check_json, parse_json};
use indexmap::IndexMap;
use parking_lot::Mutex;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::end_reason::StopRequest;
use crate::error::CallbackResult;

/// String of the section: the version, a decimal number.
const VERSION_KEY: &str = "callback.version";
/// String of the section: the value, JSON.
const VALUE_KEY: &str = "callback.value";

/// The state of a callback: a version, a value, and tensors. It is the section `user.<name>` of a checkpoint,
/// which [`Checkpoint::section`](burn_ckpt::Checkpoint::section) reads without the trainer.
///
/// ```
/// use burn_trainer::callbacks::CallbackState;
///
/// let state = CallbackState::new(1).with_value(&("patience", 3))?;
/// assert_eq!(state.version(), 1);
/// assert_eq!(state.value::<(String, u32)>()?, ("patience".to_owned(), 3));
/// assert!(state.up_to_version(0).is_err());
/// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
/// ```
///
/// A callback that [validates with a model of its own](crate::callbacks::CallbackContext::validate_with)
/// stores it by [`with_module`](Self::with_module), with a value that has a field `validates` which is true.
/// Then [`FitResult::best_model`](crate::FitResult::best_model), `end_with` and evaluations load that model,
/// as they do with [`Ema`](crate::callbacks::Ema).
#[derive(Clone, Default)]
pub struct CallbackState {
    version: u32,
    section: Section,
    module: Option<SharedModule>,
    with_weights: bool,
}

/// Makes the section of a module, whose type is not known here.
type SharedModule = Arc<Mutex<dyn Fn(ReadTiming) -> Section + Send>>;

impl fmt::Debug for CallbackState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallbackState")
            .field("version", &self.version)
            .field("section", &self.section)
            .finish_non_exhaustive()
    }
}

impl CallbackState {
    /// A state without content. The version is the callback's own: it says how the content is read.
    #[must_use]
    pub fn new(version: u32) -> Self {
        Self { version, ..Self::default() }
    }

    /// Sets the value. Numbers that are not finite need a form of their own in it, as JSON has none for them.
    ///
    /// # Errors
    ///
    /// When it cannot be written as JSON, or has more than 120,000 values.
    pub fn with_value(mut self, value: &impl Serialize) -> CallbackResult<Self> {
        let text = serde_json::to_string(value)?;
        check_json(text.as_bytes(), MAX_JSON_VALUES)?;
        self.section.strings.insert(VALUE_KEY.to_owned(), text);
        Ok(self)
    }

    /// Sets the tensors: those of a module, which is cheap to clone. They are read from their device when the
    /// checkpoint is written.
    #[must_use]
    pub fn with_module<M: Module + 'static>(mut self, module: &M) -> Self {
        // A clone shares running statistics, which have those of later steps by the time that they are
        // written.
        let module = module.valid();
        self.module = Some(Arc::new(Mutex::new(move |reading| match reading {
            ReadTiming::Later => Section::from_module(&module),
            ReadTiming::Now => Section::from_module_at_once(&module),
        })));
        self
    }

    /// Also stores the state in checkpoints of weights alone, for one that serves inference: averaged
    /// weights, say.
    #[must_use]
    pub fn also_with_weights_only(mut self) -> Self {
        self.with_weights = true;
        self
    }

    /// The version that it was stored with.
    #[must_use]
    pub fn version(&self) -> u32 {
        self.version
    }

    /// The same state, if its version is at most this.
    /// [`Callback::restore`](crate::callbacks::Callback::restore) begins with it: a newer version may mean
    /// something else by the same values.
    ///
    /// # Errors
    ///
    /// For a newer state, which a newer program has stored.
    pub fn up_to_version(self, newest: u32) -> CallbackResult<Self> {
        match self.version {
            version if version > newest => {
                Err(format!("its state has version {version}, and this program reads up to {newest}").into())
            }
            _ => Ok(self),
        }
    }

    /// The value.
    ///
    /// # Errors
    ///
    /// When there is none, or it is not of the type.
    pub fn value<T: DeserializeOwned>(&self) -> CallbackResult<T> {
        let text = self.section.strings.get(VALUE_KEY).ok_or("the stored state has no value")?;
        let value = parse_json(text.as_bytes(), MAX_JSON_VALUES);
        value.map_err(|error| {
            format!("the stored value has another form than this program reads: {error}").into()
        })
    }

    /// Puts the stored tensors into a module that has the same parameters.
    ///
    /// # Errors
    ///
    /// When a name, a shape or a type differs, or a tensor cannot be read.
    pub fn load_into<M: Module>(&self, module: M) -> CallbackResult<M> {
        let described = |section: &Section| -> Vec<_> {
            let tensors = section.tensors.iter();
            tensors.map(|tensor| (tensor.name.clone(), tensor.shape.to_vec(), tensor.dtype.name())).collect()
        };
        let (stored, own) = (described(&self.section), described(&Section::from_module(&module)));
        if let Some((name, shape, dtype)) = own.iter().find(|tensor| !stored.contains(tensor)) {
            return Err(
                format!("the stored state has no tensor {name} of shape {shape:?} and type {dtype}").into()
            );
        }
        if let Some((name, ..)) = stored.iter().find(|tensor| !own.contains(tensor)) {
            return Err(
                format!("the stored state has a tensor {name}, and the module has none like it").into()
            );
        }
        let record = ModuleRecord::from_bytes(self.section.clone().into_burnpack()?)?;
        Ok(module.load_record(record))
    }

    /// The section with its tensors, which are read from the file when they are asked for.
    #[must_use]
    pub fn section(&self) -> &Section {
        &self.section
    }

    /// Whether it belongs into checkpoints of weights alone, too.
    fn is_with_weights(&self) -> bool {
        self.with_weights
    }

    /// The section as it is stored.
    fn to_section(&self, reading: ReadTiming) -> Section {
        let mut section = self.section.clone();
        section.strings.insert(VERSION_KEY.to_owned(), self.version.to_string());
        if let Some(module) = &self.module {
            let Section { tensors, strings, .. } = module.lock()(reading);
            section.tensors = tensors;
            section.strings.extend(strings);
        }
        section
    }

    /// The state in a section of a checkpoint. `None` for a section that is not a callback's.
    pub(crate) fn of_section(mut section: Section) -> Option<Self> {
        let version = section.strings.remove(VERSION_KEY)?.parse().ok()?;
        Some(Self { version, section, ..Self::default() })
    }
}

/// The states of all callbacks at a position of the run, with what they have asked of the loop there. Clones
/// share their tensors.
#[derive(Clone)]
pub(crate) struct CallbackStates {
    states: Vec<(String, CallbackState)>,
    rate_scale: f64,
    stop: Option<StopRequest>,
}

impl CallbackStates {
    /// Of these callbacks, by their names. `stop` is a request to end the run at this position.
    pub(crate) fn new(
        states: Vec<(String, CallbackState)>,
        rate_scale: f64,
        stop: Option<StopRequest>,
    ) -> Self {
        Self { states, rate_scale, stop }
    }

    /// The sections of a whole state, or of the weights alone.
    pub(crate) fn sections(&self, weights_only: bool, reading: ReadTiming) -> IndexMap<String, Section> {
        let stored = self.states.iter().filter(|(_, state)| !weights_only || state.is_with_weights());
        stored.map(|(name, state)| (section_name(name), state.to_section(reading))).collect()
    }

    /// By what the scheduler's rate is multiplied.
    pub(crate) fn rate_scale(&self) -> f64 {
        self.rate_scale
    }

    /// The request to end the run at this position.
    pub(crate) fn stop(&self) -> Option<StopRequest> {
        self.stop.clone()
    }

    /// Drops that request.
    pub(crate) fn forget_stop(&mut self) {
        self.stop = None;
    }
}

/// The section of a callback's state.
pub(crate) fn section_name(callback: &str) -> String {
    format!("{}{callback}", Section::USER_PREFIX)
}
