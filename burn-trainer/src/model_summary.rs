//! What a model consists of: its modules, with their parameters and their size.

use std::collections::{HashMap, HashSet};
use std::fmt;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::tensor::{Bool, Int, Tensor};
use burn_ckpt::plumbing::size;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::process::progress::table::{Column, table};

/// What stands in the place of a type for a parameter that the model itself owns.
const PARAMETER: &str = "parameter";
/// The most modules that the metadata has.
const MAX_KEPT: usize = 200;
/// What stands for a name in burn's types: `Struct:Linear`.
const TYPE_SEPARATOR: char = ':';

/// The modules of a model with their parameters, made by [`model_summary`]. Its `Display` is a table of all
/// modules.
///
/// A parameter is a number of a tensor of floats that the optimizer trains, or would train if it were not
/// frozen. Running statistics, integers and booleans count as bytes only. A parameter that two modules share
/// counts once in the model, and in each of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ModelSummary {
    /// The model's type.
    #[serde(rename = "type")]
    pub kind: String,
    /// All parameters.
    pub parameters: u64,
    /// Those of them that are trained.
    pub trainable: u64,
    /// The size of all tensors.
    pub bytes: u64,
    /// Each module that has a tensor, and each parameter of the model's own, in the order of the model's
    /// fields.
    pub modules: Vec<ModuleSummary>,
}

/// A module of a model, with all modules in it: see [`model_summary`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ModuleSummary {
    /// The names of the fields that lead to it: `encoder.layers.0`.
    pub path: String,
    /// Its type: `Linear`, `Vec`.
    #[serde(rename = "type")]
    pub kind: String,
    /// All parameters.
    pub parameters: u64,
    /// Those of them that are trained.
    pub trainable: u64,
    /// The size of all tensors.
    pub bytes: u64,
}

/// Counts the parameters of a model and its modules. Reads no weights.
///
/// On a device without autodiff a parameter counts as trained unless it was frozen while it was on one that
/// has it.
///
/// ```
/// use burn::nn::LinearConfig;
/// use burn::tensor::Device;
/// use burn_trainer::model_summary;
///
/// let model = LinearConfig::new(10, 3).init(&Device::flex().autodiff());
/// let summary = model_summary(&model);
/// assert_eq!((summary.parameters, summary.trainable, summary.bytes), (33, 33, 132));
/// println!("{summary}");
/// ```
#[must_use]
pub fn model_summary<M: Module>(model: &M) -> ModelSummary {
    // A copy with cells of its own: running statistics are shared with a clone.
    let training = model.valid().train();
    let is_autodiff = model.devices().iter().any(burn::tensor::Device::is_autodiff);
    let mut trained = RequiringGrad::default();
    match is_autodiff {
        true => model.visit(&mut trained),
        false => training.visit(&mut trained),
    }
    // burn tells a visitor of running statistics as it does of a frozen parameter. They alone stay without
    // gradients here.
    let mut parameters = RequiringGrad::default();
    training.map(&mut Unfreeze).visit(&mut parameters);
    let mut count = Count { trained: trained.0, parameters: parameters.0, ..Count::default() };
    model.visit(&mut count);
    count.into_summary()
}

impl ModelSummary {
    /// The modules down to `depth` levels below the model; with 1 its fields.
    pub fn down_to(&self, depth: usize) -> impl Iterator<Item = &ModuleSummary> {
        self.modules.iter().filter(move |module| module.depth() <= depth)
    }

    /// `12,345 parameters, 12,000 of them trained, 48.2 KiB`.
    #[must_use]
    pub fn in_short(&self) -> String {
        let Self { parameters, trainable, bytes, .. } = self;
        let frozen = match trainable == parameters {
            true => String::new(),
            false => format!(", {} of them trained", grouped(*trainable)),
        };
        format!("{} parameters{frozen}, {}", grouped(*parameters), size(*bytes))
    }

    /// As it stands in a checkpoint's metadata: the modules down to a depth, up to a number of them.
    pub(crate) fn kept(&self, depth: usize) -> Value {
        let modules = self.down_to(depth).take(MAX_KEPT).cloned().collect();
        let kept = Self { modules, kind: self.kind.clone(), ..*self };
        // It has strings and whole numbers alone.
        serde_json::to_value(kept).unwrap_or_default()
    }

    /// A table of modules, of lines up to this width where that is known.
    pub(crate) fn lines<'a>(
        modules: impl Iterator<Item = &'a ModuleSummary>,
        width: Option<usize>,
    ) -> Vec<String> {
        let rows: Vec<Vec<String>> = modules
            .map(|module| {
                let ModuleSummary { path, kind, parameters, trainable, bytes } = module;
                vec![path.clone(), kind.clone(), grouped(*parameters), grouped(*trainable), size(*bytes)]
            })
            .collect();
        // The columns that are left out first where there is no room have the highest numbers.
        let columns = [
            Column::text("module", 0),
            Column::text("type", 3),
            Column::number("parameters", 1),
            Column::number("trained", 4),
            Column::number("size", 2),
        ];
        table(&columns, &rows, width)
    }
}

impl ModuleSummary {
    fn depth(&self) -> usize {
        1 + self.path.matches('.').count()
    }
}

impl fmt::Display for ModelSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind, self.in_short())?;
        let lines = Self::lines(self.modules.iter(), None);
        lines.iter().try_for_each(|line| write!(f, "\n{line}"))
    }
}

/// The tensors that require gradients.
#[derive(Default)]
struct RequiringGrad(HashSet<ParamId>);

impl ModuleVisitor for RequiringGrad {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if param.val().is_require_grad() {
            self.0.insert(param.id);
        }
    }
}

struct Unfreeze;

impl ModuleMapper for Unfreeze {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        param.set_require_grad(true)
    }
}

/// The numbers of a tensor, or of a module.
#[derive(Debug, Clone, Copy, Default)]
struct Numbers {
    parameters: u64,
    trainable: u64,
    bytes: u64,
}

impl Numbers {
    fn add(&mut self, other: Self) {
        self.parameters += other.parameters;
        self.trainable += other.trainable;
        self.bytes += other.bytes;
    }
}

/// A visitor that adds the tensors up.
#[derive(Default)]
struct Count {
    trained: HashSet<ParamId>,
    /// All that an optimizer could train.
    parameters: HashSet<ParamId>,
    /// The fields that lead to where the visitor is.
    path: Vec<String>,
    kinds: HashMap<String, String>,
    /// In the order in which they are first met.
    modules: indexmap::IndexMap<String, (Numbers, HashSet<ParamId>)>,
    whole: (Numbers, HashSet<ParamId>),
}

impl Count {
    fn tensor(&mut self, id: ParamId, shape: &[usize], bytes_of_one: usize) {
        let elements: u64 = shape.iter().map(|size| *size as u64).product();
        let parameters = if self.parameters.contains(&id) { elements } else { 0 };
        let trainable = if self.trained.contains(&id) { parameters } else { 0 };
        let numbers = Numbers { parameters, trainable, bytes: elements * bytes_of_one as u64 };
        let add = |(sum, seen): &mut (Numbers, HashSet<ParamId>)| {
            if seen.insert(id) {
                sum.add(numbers);
            }
        };
        add(&mut self.whole);
        // A parameter of the model's own has a row, as its fields have.
        let owners = self.path.len().saturating_sub(1).max(self.path.len().min(1));
        for depth in 1..=owners {
            add(self.modules.entry(self.path[..depth].join(".")).or_default());
        }
    }

    fn into_summary(self) -> ModelSummary {
        let kind = |path: &str| self.kinds.get(path).cloned().unwrap_or_else(|| PARAMETER.to_owned());
        let (Numbers { parameters, trainable, bytes }, _) = self.whole;
        let modules = self.modules.iter().map(|(path, (numbers, _))| {
            let Numbers { parameters, trainable, bytes } = *numbers;
            ModuleSummary { path: path.clone(), kind: kind(path), parameters, trainable, bytes }
        });
        ModelSummary { kind: kind(""), parameters, trainable, bytes, modules: modules.collect() }
    }
}

impl ModuleVisitor for Count {
    fn enter_module(&mut self, name: &str, container: &str) {
        let path = self.path.join(".");
        let kind = container.split_once(TYPE_SEPARATOR).map_or(container, |(_, kind)| kind);
        self.kinds.entry(path).or_insert_with(|| kind.to_owned());
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let value = param.val();
        self.tensor(param.id, &value.dims(), value.dtype().size());
    }

    fn visit_int<const D: usize>(&mut self, param: &Param<Tensor<D, Int>>) {
        let value = param.val();
        self.tensor(param.id, &value.dims(), value.dtype().size());
    }

    fn visit_bool<const D: usize>(&mut self, param: &Param<Tensor<D, Bool>>) {
        let value = param.val();
        self.tensor(param.id, &value.dims(), value.dtype().size());
    }
}

/// `12,345`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut shown = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            shown.push(',');
        }
        shown.push(digit);
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::nn::conv::{Conv2d, Conv2dConfig};
    use burn::nn::{BatchNorm, BatchNormConfig, Embedding, EmbeddingConfig, Linear, LinearConfig};
    use burn::tensor::{Device, TensorData};

    #[derive(Module, Debug)]
    struct Net {
        conv: Conv2d,
        norm: BatchNorm,
        tokens: Embedding,
        /// Shares its weight with `tokens`.
        head: Embedding,
        layers: Vec<Linear>,
        scale: Param<Tensor<1>>,
        counts: Param<Tensor<1, Int>>,
        mask: Param<Tensor<1, Bool>>,
    }

    fn net(device: &Device) -> Net {
        let tokens = EmbeddingConfig::new(5, 4).init(device);
        let linear = || LinearConfig::new(4, 4).init(device);
        let counts = Tensor::from_data(TensorData::from([1_i32, 2, 3]), device);
        let mask = Tensor::from_data(TensorData::from([true, false]), device);
        Net {
            conv: Conv2dConfig::new([1, 2], [3, 3]).init(device),
            norm: BatchNormConfig::new(2).init(device),
            head: tokens.clone(),
            tokens,
            layers: vec![linear(), linear().no_grad()],
            scale: Param::from_tensor(Tensor::ones([7], device)),
            counts: Param::initialized(ParamId::new(), counts),
            mask: Param::initialized(ParamId::new(), mask),
        }
    }

    fn of<'a>(summary: &'a ModelSummary, path: &str) -> &'a ModuleSummary {
        summary.modules.iter().find(|module| module.path == path).unwrap()
    }

    #[test]
    fn frozen_shared_and_other_tensors_are_counted_as_what_they_are() {
        for device in [Device::flex(), Device::flex().autodiff()] {
            let model = net(&device);
            let summary = model_summary(&model);
            let numbers = |path: &str| {
                let module = of(&summary, path);
                (module.kind.as_str(), module.parameters, module.trainable)
            };
            assert_eq!(numbers("conv"), ("Conv2d", 20, 20));
            // Of 8 numbers 4 are a mean and a variance.
            assert_eq!(numbers("norm"), ("BatchNorm", 4, 4));
            assert_eq!(of(&summary, "norm").bytes, 32);
            assert_eq!([numbers("tokens"), numbers("head")], [("Embedding", 20, 20); 2]);
            assert_eq!(numbers("layers"), ("Vec", 40, 20));
            assert_eq!(numbers("layers.1"), ("Linear", 20, 0));
            assert_eq!(numbers("scale"), ("parameter", 7, 7));
            assert_eq!((numbers("counts"), numbers("mask")), (("parameter", 0, 0), ("parameter", 0, 0)));
            let bytes: u64 = ["counts", "mask"].map(|path| of(&summary, path).bytes).iter().sum();
            assert!(bytes >= 5, "{bytes}");
            assert_eq!((summary.kind.as_str(), summary.parameters, summary.trainable), ("Net", 91, 71));
            assert_eq!(summary.bytes, 4 * 91 + 16 + bytes);
            let top: Vec<&str> = summary.down_to(1).map(|module| module.path.as_str()).collect();
            assert_eq!(top, ["conv", "norm", "tokens", "head", "layers", "scale", "counts", "mask"]);
        }
    }

    #[test]
    fn a_checkpoint_has_a_limited_number_of_modules() {
        let linear = || LinearConfig::new(1, 1).init(&Device::flex());
        let summary = model_summary(&(0..MAX_KEPT + 1).map(|_| linear()).collect::<Vec<_>>());
        assert_eq!((summary.modules.len(), summary.parameters), (MAX_KEPT + 1, 2 * (MAX_KEPT as u64 + 1)));
        let kept = summary.kept(1);
        assert_eq!(kept["modules"].as_array().unwrap().len(), MAX_KEPT);
        assert_eq!(kept["parameters"], 2 * (MAX_KEPT as u64 + 1));
        assert_eq!(summary.kept(0)["modules"], serde_json::json!([]));
    }

    #[test]
    fn counting_changes_no_running_statistic() {
        let model = net(&Device::flex().autodiff());
        let before = model.norm.running_mean.value().into_data();
        let _ = model_summary(&model);
        model.norm.forward(Tensor::<4>::ones([2, 2, 3, 3], &Device::flex().autodiff()));
        let after = model.norm.running_mean.value_sync().into_data();
        assert_ne!(before.iter::<f32>().collect::<Vec<_>>(), after.iter::<f32>().collect::<Vec<_>>());
        assert!(!model.norm.running_mean.value().is_require_grad());
    }
}
