//! Which tensor of a checkpoint is for which parameter of a module: by name after renaming, by shape, and by
//! kind.
//!
//! Reads no tensor, and does not initialise the module's parameters.

use std::collections::BTreeMap;
use std::path::Path;

use burn::module::{Module, ModuleVisitor, Param};
use burn::store::{FloatCastAdapter, KeyRemapper, ModuleAdapter, ModuleContext, PyTorchToBurnAdapter};
use burn::tensor::{Bool, DType, Device, Int, Shape, Tensor};

use crate::error::{Error, Result};
use crate::file_names::name_error;
use crate::format::module_types::Walk;
use crate::format::section::{Section, TensorLayout};
use crate::load::float_types::FloatType;
use crate::load::options::LoadOptions;
use crate::load::prefetch::Wanted;
use crate::load::report::{LoadReport, TensorMismatch};
use crate::text::printable::shown;

/// PyTorch's batch normalisations count their batches in a tensor of this name. burn's do not.
const PYTORCH_COUNTER: &str = "num_batches_tracked";

/// For how many missing parameters hints are looked for.
const MAX_HINTS: usize = 8;

/// A tensor that fits a parameter, under the parameter's name.
pub(crate) struct Match {
    /// The tensor's name in the section.
    pub(crate) stored_name: String,
    pub(crate) wanted: Wanted,
}

/// What was found for a module's parameters.
pub(crate) struct Matches {
    /// The tensors that fit.
    pub(crate) found: Vec<Match>,
    /// The types of the float parameters.
    pub(crate) floats: Vec<FloatType>,
    pub(crate) report: LoadReport,
}

/// Finds the tensor for each of a module's parameters. What the options allow is checked later, by
/// [`LoadReport::check`].
pub(crate) fn match_tensors<M: Module>(
    path: &Path,
    section: Section,
    module: &M,
    options: &LoadOptions,
) -> Result<Matches> {
    if let Some(dtype) = options.float_dtype.filter(|dtype| !dtype.is_float()) {
        let reason = "it is not a type of floats: F32, F16, BF16, F64".to_owned();
        return Err(name_error("float_dtype", dtype.name(), reason));
    }
    let layout = section.layout()?;
    let mut stored = renamed(path, section.tensors, &options.remapper)?;
    let (mut matches, mut floats, mut report) = (Vec::new(), Vec::new(), LoadReport::default());
    for parameter in parameters(module) {
        let Some((stored_name, tensor)) = parameter.take_from(&mut stored, layout) else {
            floats.extend(parameter.float_type(None));
            report.missing.push((parameter.name, parameter.shape));
            continue;
        };
        let stored_bytes = tensor.byte_len();
        let converted =
            layout != TensorLayout::Burn || options.float_dtype.is_some_and(|dtype| dtype != tensor.dtype);
        let mut tensor = parameter.adapted(tensor, layout, options.float_dtype);
        // One number, which some programs store as `[]` and others as `[1]`.
        if matches!((tensor.shape.as_slice(), &parameter.shape[..]), ([], [1]) | ([1], [])) {
            tensor.shape = Shape::from(parameter.shape.clone());
        }
        let (stored, wanted) = if tensor.shape.as_slice() != parameter.shape {
            (format!("{:?}", tensor.shape.as_slice()), format!("{:?}", parameter.shape))
        } else if !parameter.kind.accepts(tensor.dtype) {
            (tensor.dtype.name().to_owned(), parameter.kind.dtype(&parameter.device).name().to_owned())
        } else {
            // A tensor that is converted is in memory twice during the conversion.
            let cost = if converted { stored_bytes + tensor.byte_len() } else { stored_bytes };
            floats.extend(parameter.float_type(Some(tensor.dtype)));
            matches.push(Match { stored_name, wanted: Wanted { tensor, cost } });
            continue;
        };
        floats.extend(parameter.float_type(None));
        report.mismatched.push(TensorMismatch { name: parameter.name, stored, wanted });
    }
    if layout == TensorLayout::PyTorch {
        report.hints = tied_hints(&report.missing, &matches);
        stored.retain(|name, _| name.rsplit('.').next() != Some(PYTORCH_COUNTER));
    }
    report.unused = stored.into_iter().map(|(name, (_, tensor))| (name, tensor.shape.to_vec())).collect();
    Ok(Matches { found: matches, floats, report })
}

/// Hints for parameters that an imported file lacks, if few others have their shape: PyTorch's programs store
/// tied weights once. A linear layer has the shape of an embedding the other way around.
fn tied_hints(missing: &[(String, Vec<usize>)], matches: &[Match]) -> BTreeMap<String, String> {
    let hint = |(name, shape): &(String, Vec<usize>)| {
        let twins: Vec<&str> = matches
            .iter()
            .filter(|found| {
                let theirs = found.wanted.tensor.shape.as_slice();
                shape.len() > 1 && (theirs == shape || theirs.iter().rev().eq(shape))
            })
            .map(|found| found.stored_name.as_str())
            .collect();
        let text = match &twins[..] {
            [twin] => {
                format!(" ({twin} has its shape: if the weights are tied, import with --copy {twin}={name})")
            }
            _ => return None,
        };
        Some((name.clone(), text))
    };
    // No more are shown.
    missing.iter().take(MAX_HINTS).filter_map(hint).collect()
}

/// Tensors by the names that the remapper gives them, each with the name that it has in the section.
type Stored = BTreeMap<String, (String, burn_pack::Tensor)>;

fn renamed(path: &Path, tensors: Vec<burn_pack::Tensor>, remapper: &KeyRemapper) -> Result<Stored> {
    let (tensors, names) = remapper.remap(tensors);
    let mut by_name = BTreeMap::new();
    for (tensor, (name, before)) in tensors.into_iter().zip(names) {
        if by_name.insert(name.clone(), (before.clone(), tensor)).is_some() {
            let reason = format!(
                "the key remapping gives {} and another tensor the name {}",
                shown(&before),
                shown(&name)
            );
            return Err(Error::Mismatch { path: path.to_path_buf(), reason });
        }
    }
    Ok(by_name)
}

/// A parameter of a module.
struct Parameter {
    name: String,
    /// The name without variants of enums.
    plain_name: String,
    shape: Vec<usize>,
    kind: Kind,
    /// The type of its values now.
    dtype: DType,
    device: Device,
    /// The types of the modules around the parameter.
    around: Vec<String>,
}

/// The kind of a parameter's values. A parameter takes any stored type of its kind.
#[derive(Clone, Copy)]
enum Kind {
    Float,
    Int,
    Bool,
}

impl Kind {
    /// Whether burn-store's `Applier` accepts values of a type for the kind.
    fn accepts(self, dtype: DType) -> bool {
        match self {
            Self::Float => dtype.is_float() || matches!(dtype, DType::QFloat(_)),
            Self::Int => dtype.is_int() || dtype.is_uint(),
            // Formats without booleans store them as whole numbers.
            Self::Bool => dtype.is_bool() || matches!(dtype, DType::U8 | DType::U32),
        }
    }

    /// A device's default type of the kind.
    fn dtype(self, device: &Device) -> DType {
        let settings = device.settings();
        match self {
            Self::Float => settings.float_dtype.into(),
            Self::Int => settings.int_dtype.into(),
            Self::Bool => settings.bool_dtype.into(),
        }
    }
}

impl Parameter {
    /// The type of a float parameter after loading. `stored` is that of its tensor.
    fn float_type(&self, stored: Option<DType>) -> Option<FloatType> {
        let (name, own) = (self.name.clone(), self.dtype);
        let is_stored = stored.is_some();
        matches!(self.kind, Kind::Float).then(|| FloatType {
            name,
            own,
            loaded: stored.unwrap_or(own),
            is_stored,
        })
    }

    /// Takes the parameter's tensor: the one of its name or, in PyTorch's layout, of its name there.
    fn take_from(&self, stored: &mut Stored, layout: TensorLayout) -> Option<(String, burn_pack::Tensor)> {
        match layout {
            TensorLayout::Burn => stored.remove(&self.name),
            TensorLayout::PyTorch => {
                let (place, last) = self.plain_name.rsplit_once('.').unwrap_or(("", &self.plain_name));
                let module = ModuleContext::new(&self.around).module_type();
                let theirs =
                    module.and_then(|module| PyTorchToBurnAdapter.get_alternative_param_name(last, module));
                let theirs = theirs.map(|last| match place {
                    "" => last,
                    place => format!("{place}.{last}"),
                });
                let names = [Some(self.name.clone()), Some(self.plain_name.clone()), theirs];
                names.into_iter().flatten().find_map(|name| stored.remove(&name))
            }
        }
    }

    /// The tensor converted to burn's layout and to the type that was asked for, under the parameter's name.
    /// Reads nothing yet.
    fn adapted(
        &self,
        mut tensor: burn_pack::Tensor,
        layout: TensorLayout,
        float: Option<DType>,
    ) -> burn_pack::Tensor {
        let context = ModuleContext::new(&self.around);
        tensor.name.clone_from(&self.name);
        if layout == TensorLayout::PyTorch {
            tensor = PyTorchToBurnAdapter.adapt(tensor, context);
        }
        if let Some(float) = float {
            tensor = FloatCastAdapter::to(float).adapt(tensor, context);
        }
        tensor.name.clone_from(&self.name);
        tensor
    }
}

/// Every parameter of a module. Does not initialise them.
fn parameters<M: Module>(module: &M) -> Vec<Parameter> {
    let mut visit = Parameters::default();
    module.visit(&mut visit);
    let (types, found) = (visit.walk.into_types(), visit.found);
    let parameter = |VisitedParameter { name, shape, kind, dtype, device }| {
        let (plain_name, around) = (types.without_variants(&name), types.around(&name));
        let dtype = dtype.unwrap_or_else(|| kind.dtype(&device));
        Parameter { name, plain_name, shape, kind, dtype, device, around }
    };
    found.into_iter().map(parameter).collect()
}

#[derive(Default)]
struct Parameters {
    walk: Walk,
    found: Vec<VisitedParameter>,
}

struct VisitedParameter {
    name: String,
    shape: Vec<usize>,
    kind: Kind,
    /// `None` for a parameter that is not initialised: it would get its device's default type.
    dtype: Option<DType>,
    device: Device,
}

impl Parameters {
    fn note(&mut self, shape: Shape, kind: Kind, dtype: Option<DType>, device: Device) {
        let name = self.walk.place();
        self.found.push(VisitedParameter { name, shape: shape.to_vec(), kind, dtype, device });
    }
}

impl ModuleVisitor for Parameters {
    fn enter_module(&mut self, name: &str, container_type: &str) {
        self.walk.enter(name, container_type);
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.walk.exit();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.walk.note_layout(param);
        let dtype = param.is_initialized().then(|| param.base().dtype());
        self.note(param.lazy_shape(), Kind::Float, dtype, param.lazy_device());
    }

    fn visit_int<const D: usize>(&mut self, param: &Param<Tensor<D, Int>>) {
        self.note(param.lazy_shape(), Kind::Int, None, param.lazy_device());
    }

    fn visit_bool<const D: usize>(&mut self, param: &Param<Tensor<D, Bool>>) {
        self.note(param.lazy_shape(), Kind::Bool, None, param.lazy_device());
    }
}
