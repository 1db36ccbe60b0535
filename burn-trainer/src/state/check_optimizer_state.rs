//! Whether the optimizer's and the scheduler's state of a checkpoint can belong to its model. A checkpoint
//! whose digests were computed again after its content was changed passes a verification; burn would panic on
//! it, or train on garbage.
//!
//! This needs no learner, so that `auto` passes over such a file. That the model is the learner's is checked
//! when it is restored. A save checks the same: what it writes must be resumable.
//!
//! Only what has a name of burn's own is held to burn's rules. A program's own optimizer and scheduler may
//! keep what they like under other names.

use std::collections::HashMap;

use burn_ckpt::Section;
use burn_ckpt::burn_pack::{DType, Scalar, Tensor};
use burn_ckpt::plumbing::shown;
use indexmap::IndexMap;

/// What the counts of burn's optimizers and schedulers, and ours, are called.
const COUNTS: [&str; 6] = ["time", "current_iter", "iter_idx", "remaining_iters", "step", "steps_done"];
/// Counts at or above this are invalid: burn adds to them, and raises to their power.
const MAX_COUNT: u64 = i32::MAX as u64;
/// What a rate in burn's exponential schedule is called.
const RATE: &str = "previous_lr";
/// Name of the scalar by which burn stores how many dimensions a parameter has.
const RANK: &str = "__rank";
/// Fields of burn's optimizers that have a value for each of the parameter's. A program's own optimizer can
/// have other fields, of any shape.
const OF_EACH_VALUE: [&str; 15] = [
    "moment_1",
    "moment_2",
    "max_moment_2",
    "exp_avg",
    "exp_avg_sq",
    "exp_avg_diff",
    "neg_pre_grad",
    "grad_last_step",
    "momentum",
    "velocity",
    "sum",
    "square_avg",
    "grad_avg",
    "avg",
    "buf",
];
/// Fields of burn's Adafactor, of which one dimension can be 1: sums over it.
const SUMMED: [&str; 2] = ["second_moment", "column_second_moment"];

/// The parameters of a model by their ids.
type Parameters<'a> = HashMap<u64, &'a Tensor>;

/// Checks that a state which is to be saved can be resumed. One without an optimizer is not for that.
///
/// # Errors
///
/// [`Error::Snapshot`](burn_ckpt::Error::Snapshot) with what is wrong.
pub(crate) fn check_resumable(sections: &IndexMap<String, Section>) -> burn_ckpt::Result<()> {
    let [model, optimizer, scheduler] =
        [Section::MODEL, Section::OPTIMIZER, Section::SCHEDULER].map(|name| sections.get(name));
    let (Some(model), Some(optimizer), Some(scheduler)) = (model, optimizer, scheduler) else {
        return Ok(());
    };
    check_optimizer_state(model, optimizer, scheduler).map_err(|reason| burn_ckpt::Error::Snapshot {
        reason: format!(
            "no run could resume from it: {reason}. If it belongs to an optimizer or a scheduler of the program's own, give it \
             a name that burn's do not have"
        ),
        source: None,
    })
}

/// Checks the sections of a checkpoint. `optimizer` has the names of the file: those of the parameters'
/// paths. The error says what is wrong.
pub(super) fn check_optimizer_state(
    model: &Section,
    optimizer: &Section,
    scheduler: &Section,
) -> Result<(), String> {
    let parameters = parameters(model)?;
    for tensor in &optimizer.tensors {
        check_tensor(tensor, &parameters, &optimizer.strings).map_err(|reason| {
            format!("the tensor {}.{} {reason}", Section::OPTIMIZER, shown(&tensor.name))
        })?;
    }
    check_ranks(optimizer, &parameters)?;
    if let Some(tensor) = scheduler.tensors.first() {
        return Err(format!("its {} section has a tensor, {}", Section::SCHEDULER, shown(&tensor.name)));
    }
    for (section, part) in [(Section::OPTIMIZER, optimizer), (Section::SCHEDULER, scheduler)] {
        for (name, value) in &part.scalars {
            if !is_possible(name, *value) {
                let name = shown(name);
                return Err(format!("the value {section}.{name} is {value:?}, which no run reaches"));
            }
        }
    }
    Ok(())
}

fn parameters(model: &Section) -> Result<Parameters<'_>, String> {
    let mut parameters = Parameters::new();
    for tensor in &model.tensors {
        let of = |reason: &str| format!("the tensor {}.{} {reason}", Section::MODEL, shown(&tensor.name));
        if matches!(tensor.dtype, DType::QFloat(_)) {
            return Err(of("is quantised, which cannot be trained"));
        }
        let id = tensor.param_id.ok_or_else(|| of("has no parameter id"))?;
        // Tied parameters have one id, and are the same.
        if let Some(other) = parameters.insert(id, tensor)
            && (other.dtype, &other.shape) != (tensor.dtype, &tensor.shape)
        {
            return Err(of(&format!("has the parameter id of {}", shown(&other.name))));
        }
    }
    Ok(parameters)
}

fn check_tensor(
    tensor: &Tensor,
    parameters: &Parameters<'_>,
    paths: &std::collections::BTreeMap<String, String>,
) -> Result<(), String> {
    let id = tensor.param_id.ok_or("names no parameter")?;
    let parameter = parameters.get(&id).ok_or("is of a parameter that the model does not have")?;
    let path = paths.get(&id.to_string()).map_or("", String::as_str);
    let is_its_own = [path, &id.to_string()]
        .iter()
        .any(|owner| tensor.name.strip_prefix(owner).is_some_and(|rest| rest.starts_with('.')));
    if !is_its_own {
        return Err(format!("has the parameter id of {}", shown(&parameter.name)));
    }
    let field = tensor.name.rsplit('.').next().unwrap_or_default();
    let (shape, whole) = (tensor.shape.as_slice(), parameter.shape.as_slice());
    let fits = match field {
        _ if OF_EACH_VALUE.contains(&field) => shape == whole,
        _ if SUMMED.contains(&field) => is_summed(shape, whole),
        _ => return Ok(()),
    };
    if !fits {
        return Err(format!("has the shape {shape:?}, and its parameter {whole:?}"));
    }
    if tensor.dtype != parameter.dtype {
        let (own, theirs) = (tensor.dtype.name(), parameter.dtype.name());
        return Err(format!("is {own}, and its parameter {theirs}"));
    }
    Ok(())
}

/// Whether a shape is that of a parameter, or of its sums over one of the last two dimensions.
fn is_summed(shape: &[usize], whole: &[usize]) -> bool {
    let differing: Vec<usize> =
        shape.iter().zip(whole).enumerate().filter(|(_, (a, b))| a != b).map(|(place, _)| place).collect();
    shape.len() == whole.len()
        && match differing[..] {
            [] => true,
            [place] => whole.len() >= 2 && place + 2 >= whole.len() && shape[place] == 1,
            _ => false,
        }
}

/// burn trusts a stored number of dimensions, and panics if it differs from that of the parameter.
fn check_ranks(optimizer: &Section, parameters: &Parameters<'_>) -> Result<(), String> {
    let ids: HashMap<&str, u64> =
        optimizer.strings.iter().filter_map(|(id, path)| Some((path.as_str(), id.parse().ok()?))).collect();
    for (name, value) in &optimizer.scalars {
        let Some(owner) = name.strip_suffix(RANK).and_then(|owner| owner.strip_suffix('.')) else { continue };
        let id = ids.get(owner).copied().or_else(|| owner.parse().ok());
        let Some(parameter) = id.and_then(|id| parameters.get(&id)) else {
            return Err(format!(
                "the value {}.{} is of a parameter that the model does not have",
                Section::OPTIMIZER,
                shown(name)
            ));
        };
        let rank = parameter.shape.len();
        if usize::try_from(*value) != Ok(rank) {
            let name = shown(name);
            return Err(format!(
                "the value {}.{name} is {value:?}, and the parameter has {rank} dimensions",
                Section::OPTIMIZER
            ));
        }
    }
    Ok(())
}

fn is_possible(name: &str, value: Scalar) -> bool {
    let field = name.rsplit('.').next().unwrap_or_default();
    match value {
        // How burn's cosine and step schedules count before their first step, in a sequence for as long as
        // another one is used.
        Scalar::UInt(u64::MAX) if field == "current_iter" => true,
        Scalar::Int(-1) if field == "iter_idx" => true,
        Scalar::Int(value) if COUNTS.contains(&field) => {
            u64::try_from(value).is_ok_and(|value| value < MAX_COUNT)
        }
        Scalar::UInt(value) if COUNTS.contains(&field) => value < MAX_COUNT,
        // burn's Noam schedule counts its steps so.
        Scalar::Float(value) if field == RATE || COUNTS.contains(&field) => value.is_finite(),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use burn_ckpt::burn_pack::Bytes;

    use super::*;

    fn tensor(name: &str, dtype: DType, shape: &[usize], id: Option<u64>) -> Tensor {
        let bytes = Bytes::from_bytes_vec(vec![0; shape.iter().product::<usize>() * dtype.size()]);
        Tensor::new(name.to_owned(), dtype, shape.to_vec(), id, bytes)
    }

    fn reason(state: Tensor, scalars: &[(&str, Scalar)]) -> Option<String> {
        let model = Section::new().with_tensors(vec![tensor("fc.weight", DType::F32, &[3, 2], Some(7))]);
        let optimizer = Section::new()
            .with_tensors(vec![state])
            .with_scalars(scalars.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect())
            .with_strings([("7".to_owned(), "fc.weight".to_owned())].into());
        check_optimizer_state(&model, &optimizer, &Section::new()).err()
    }

    #[test]
    fn a_state_that_is_not_that_of_its_parameter_is_named() {
        let state = |name: &str, dtype, shape: &[usize], id| reason(tensor(name, dtype, shape, id), &[]);
        assert_eq!(state("fc.weight.moment_1", DType::F32, &[3, 2], Some(7)), None);
        assert_eq!(state("fc.weight.second_moment", DType::F32, &[3, 1], Some(7)), None);
        // A program's own optimizer.
        assert_eq!(state("fc.weight.fisher", DType::F64, &[6], Some(7)), None);
        assert_eq!(state("fc.weight.counts", DType::I32, &[6], Some(7)), None);
        for (name, dtype, shape, id, expected) in [
            ("fc.weight.moment_1", DType::F32, &[3, 2][..], None, "names no parameter"),
            ("fc.weight.moment_1", DType::F32, &[3, 2], Some(8), "does not have"),
            ("fc.bias.moment_1", DType::F32, &[3, 2], Some(7), "the parameter id of fc.weight"),
            ("fc.weight.moment_1", DType::I32, &[3, 2], Some(7), "is i32"),
            ("fc.weight.moment_1", DType::F64, &[3, 2], Some(7), "is f64"),
            ("fc.weight.moment_1", DType::F32, &[6], Some(7), "[6]"),
            ("fc.weight.moment_1", DType::F32, &[3, 1], Some(7), "[3, 1]"),
            ("fc.weight.second_moment", DType::F32, &[1, 1], Some(7), "[1, 1]"),
        ] {
            let found = state(name, dtype, shape, id).unwrap_or_default();
            assert!(found.contains(expected), "{name} {dtype:?} {shape:?} {id:?}: {found:?}");
        }
    }

    #[test]
    fn a_schedule_that_has_not_begun_is_possible() {
        let of = |name: &str, value| {
            let scheduler = Section::new().with_scalars([(name.to_owned(), value)].into());
            check_optimizer_state(&Section::new(), &Section::new(), &scheduler).err()
        };
        assert_eq!(of("0.1.current_iter", Scalar::UInt(u64::MAX)), None);
        assert_eq!(of("0.1.iter_idx", Scalar::Int(-1)), None);
        for (name, value) in [
            ("0.1.current_iter", Scalar::UInt(u64::MAX - 1)),
            ("0.1.remaining_iters", Scalar::UInt(u64::MAX)),
            ("0.1.iter_idx", Scalar::Int(-2)),
        ] {
            assert!(of(name, value).is_some_and(|reason| reason.contains(name)), "{name} {value:?}");
        }
    }

    #[test]
    fn a_value_that_no_run_has_is_named() {
        let of = |name, value| {
            reason(tensor("fc.weight.moment_1", DType::F32, &[3, 2], Some(7)), &[(name, value)])
        };
        assert_eq!(of("fc.weight.__rank", Scalar::UInt(2)), None);
        assert_eq!(of("fc.weight.time", Scalar::UInt(2)), None);
        // A program's own.
        assert_eq!(of("fc.weight.best", Scalar::Float(f64::INFINITY)), None);
        assert_eq!(of("fc.weight.random", Scalar::UInt(u64::MAX)), None);
        assert_eq!(of("fc.weight.offset", Scalar::Int(-7)), None);
        for (name, value) in [
            ("fc.weight.__rank", Scalar::UInt(3)),
            ("fc.weight.__rank", Scalar::Float(2.0)),
            ("fc.bias.__rank", Scalar::UInt(2)),
            ("fc.weight.time", Scalar::UInt(u64::MAX)),
            ("fc.weight.time", Scalar::Int(-1)),
            ("0.previous_lr", Scalar::Float(f64::NAN)),
            ("0.step", Scalar::Float(f64::INFINITY)),
        ] {
            assert!(of(name, value).is_some_and(|reason| reason.contains(name)), "{name} {value:?}");
        }
    }
}
