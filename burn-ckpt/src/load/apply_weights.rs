//! Putting a checkpoint's tensors into a module: renamed, converted and cast as asked, each verified as it is read.
//!
//! What fits is decided on names, shapes and kinds alone, before a tensor is read or the module's initial values are
//! made; burn-store's `Applier` then asks for one tensor after the other, which `read_ahead.rs` has read by then.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use burn::module::{Module, ModuleVisitor, Param};
use burn::store::{
    Applier, FloatCastAdapter, KeyRemapper, ModuleAdapter, ModuleContext, PyTorchToBurnAdapter,
};
use burn::tensor::{Bool, DType, Device, Int, Shape, Tensor};

use crate::error::{Error, Result};
use crate::format::metadata::Metadata;
use crate::format::module_types::Walk;
use crate::format::section::{Section, TensorLayout};
use crate::load::checked_tensors::{Damage, verified};
use crate::load::options::LoadOptions;
use crate::load::prefetch::{Wanted, read_ahead};
use crate::load::report::{LoadReport, TensorMismatch};
use crate::panics::panic_message;

/// PyTorch's batch normalisations count their batches; burn's do not.
const PYTORCH_COUNTER: &str = "num_batches_tracked";

/// A tensor that fits a parameter, under the parameter's name.
pub(crate) struct Fitting {
    /// Its name in the section.
    stored_name: String,
    wanted: Wanted,
}

/// Finds the tensor for each of a module's parameters. Reads none, and does not look at what the options allow.
pub(crate) fn matched<M: Module>(
    path: &Path,
    section: Section,
    module: &M,
    options: &LoadOptions,
) -> Result<(Vec<Fitting>, LoadReport)> {
    let layout = section.layout()?;
    let mut stored = renamed(path, section.tensors, &options.remapper)?;
    let (mut fitting, mut report) = (Vec::new(), LoadReport::default());
    for parameter in parameters(module) {
        let Some((stored_name, tensor)) = parameter.take_from(&mut stored, layout) else {
            report.missing.push((parameter.name, parameter.shape));
            continue;
        };
        let stored_bytes = tensor.byte_len();
        let converted =
            layout != TensorLayout::Burn || options.float_dtype.is_some_and(|dtype| dtype != tensor.dtype);
        let tensor = parameter.adapted(tensor, layout, options.float_dtype);
        let (stored, wanted) = if tensor.shape.as_slice() != parameter.shape {
            (format!("{:?}", tensor.shape.as_slice()), format!("{:?}", parameter.shape))
        } else if !parameter.kind.accepts(tensor.dtype) {
            (tensor.dtype.name().to_owned(), parameter.kind.dtype(&parameter.device).name().to_owned())
        } else {
            // What is converted is in memory twice while it is.
            let cost = if converted { stored_bytes + tensor.byte_len() } else { stored_bytes };
            fitting.push(Fitting { stored_name, wanted: Wanted { tensor, cost } });
            continue;
        };
        report.mismatched.push(TensorMismatch { name: parameter.name, stored, wanted });
    }
    if layout == TensorLayout::PyTorch {
        stored.retain(|name, _| name.rsplit('.').next() != Some(PYTORCH_COUNTER));
    }
    report.unused = stored.into_iter().map(|(name, (_, tensor))| (name, tensor.shape.to_vec())).collect();
    Ok((fitting, report))
}

/// Loads the model's section of a checkpoint into a module. `metadata` is what the tensors are verified by.
pub(crate) fn load<M: Module>(
    path: &Path,
    mut section: Section,
    module: M,
    options: &LoadOptions,
    metadata: Option<&Metadata>,
) -> Result<(M, LoadReport)> {
    let damage = Damage::default();
    if let Some(metadata) = metadata {
        section.tensors = verified(path, Section::MODEL, section.tensors, metadata, &damage)?;
    }
    let (fitting, mut report) = matched(path, section, &module, options)?;
    report.verified = metadata.is_some();
    report.check(path, options)?;

    let failed = |reason: String| Error::Load { path: path.to_path_buf(), reason };
    let (names, wanted): (Vec<_>, Vec<_>) =
        fitting.into_iter().map(|fitting| (fitting.stored_name, fitting.wanted)).unzip();
    let (mapped, unread) = read_ahead(wanted, |tensors| {
        let mut applier = Applier::new(tensors, None, None, false);
        // A device that does not know a tensor's type panics. The module is lost then, and nothing else.
        catch_unwind(AssertUnwindSafe(|| module.map(&mut applier)))
            .map(|module| (module, applier.into_result()))
    });
    if let Some(unread) = unread {
        let name = &names[unread.index];
        return Err(damage.take(name).unwrap_or_else(|| {
            failed(format!("the tensor {}.{name} cannot be read: {}", Section::MODEL, unread.error))
        }));
    }
    let (module, applied) =
        mapped.map_err(|panic| failed(format!("the device refuses a tensor: {}", panic_message(&*panic))))?;
    if let Some(error) = applied.errors.first() {
        return Err(failed(error.to_string()));
    }
    report.loaded = applied.applied;
    Ok((module, report))
}

/// Tensors by the names that the remapper gives them, each with the name that it has in the section.
type Stored = BTreeMap<String, (String, burn_pack::Tensor)>;

fn renamed(path: &Path, tensors: Vec<burn_pack::Tensor>, remapper: &KeyRemapper) -> Result<Stored> {
    let (tensors, names) = remapper.remap(tensors);
    let mut by_name = BTreeMap::new();
    for (tensor, (name, before)) in tensors.into_iter().zip(names) {
        if by_name.insert(name.clone(), (before.clone(), tensor)).is_some() {
            let reason = format!("the key remapping gives {before} and another tensor the name {name}");
            return Err(Error::Mismatch { path: path.to_path_buf(), reason });
        }
    }
    Ok(by_name)
}

/// What a module wants at one place.
struct Parameter {
    name: String,
    /// The name without variants of enums.
    plain_name: String,
    shape: Vec<usize>,
    kind: Kind,
    device: Device,
    /// The types of the modules around it.
    around: Vec<String>,
}

/// What a parameter's values are. Within its kind it takes the type that is stored.
#[derive(Clone, Copy)]
enum Kind {
    Float,
    Int,
    Bool,
}

impl Kind {
    /// Whether burn-store's `Applier` takes values of a type for it.
    fn accepts(self, dtype: DType) -> bool {
        match self {
            Self::Float => dtype.is_float() || matches!(dtype, DType::QFloat(_)),
            Self::Int => dtype.is_int() || dtype.is_uint(),
            // Formats without a type for them have bools as whole numbers.
            Self::Bool => dtype.is_bool() || matches!(dtype, DType::U8 | DType::U32),
        }
    }

    /// A device's own type for it.
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
    /// The tensor for it, under its own name or, in PyTorch's layout, under the name it has there.
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

    /// The tensor in burn's layout and of the type that was asked for, under the parameter's name. Reads nothing yet.
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
        if let Some(float) = float.filter(DType::is_float) {
            tensor = FloatCastAdapter::to(float).adapt(tensor, context);
        }
        tensor.name.clone_from(&self.name);
        tensor
    }
}

/// Every parameter of a module, none of them initialised by being asked.
fn parameters<M: Module>(module: &M) -> Vec<Parameter> {
    let mut visit = Parameters::default();
    module.visit(&mut visit);
    let (types, found) = (visit.walk.into_types(), visit.found);
    let parameter = |(name, shape, kind, device): (String, Vec<usize>, Kind, Device)| {
        let (plain_name, around) = (types.without_variants(&name), types.around(&name));
        Parameter { name, plain_name, shape, kind, device, around }
    };
    found.into_iter().map(parameter).collect()
}

#[derive(Default)]
struct Parameters {
    walk: Walk,
    found: Vec<(String, Vec<usize>, Kind, Device)>,
}

impl Parameters {
    fn note(&mut self, shape: Shape, kind: Kind, device: Device) {
        self.found.push((self.walk.place(), shape.to_vec(), kind, device));
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
        self.note(param.lazy_shape(), Kind::Float, param.lazy_device());
    }

    fn visit_int<const D: usize>(&mut self, param: &Param<Tensor<D, Int>>) {
        self.note(param.lazy_shape(), Kind::Int, param.lazy_device());
    }

    fn visit_bool<const D: usize>(&mut self, param: &Param<Tensor<D, Bool>>) {
        self.note(param.lazy_shape(), Kind::Bool, param.lazy_device());
    }
}
