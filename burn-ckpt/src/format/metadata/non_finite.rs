//! Values that are not finite: NaN and infinite ones. Found in the bytes of a tensor while they are written,
//! and in a module on its device.
//!
//! What counts are the tensors of the model and of the optimizer that had only finite values when the run
//! began. So a mask of `-inf` that a model has from its start does not count.

use std::collections::HashSet;
use std::fmt;

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Bool, DType, Tensor};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::format::module_types::Walk;
use crate::format::section::Section;

/// Which tensors of a state have values that are not finite: see
/// [`Metadata::non_finite`](crate::Metadata::non_finite).
///
/// ```no_run
/// # fn main() -> burn_ckpt::Result<()> {
/// let metadata = burn_ckpt::Checkpoint::open("runs/a/last")?.metadata()?;
/// if let Some(found) = metadata.non_finite.filter(|found| found.count > 0) {
///     println!("{found}");
/// }
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct NonFiniteTensors {
    /// The number of tensors of the model and of the optimizer with such values, without those of
    /// [`at_start`](Self::at_start).
    pub count: u64,
    /// The first of them, in the order in which they are stored.
    pub first: Option<String>,
    /// The tensors of the model that had such values when the run began: a mask of `-inf`, say.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub at_start: Vec<String>,
}

/// In words that fit behind "it has".
impl fmt::Display for NonFiniteTensors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let first = self.first.as_deref().unwrap_or_default();
        match self.count {
            1 => write!(f, "values that are not finite in the tensor {first}"),
            count => write!(f, "values that are not finite in {count} tensors (the first is {first})"),
        }
    }
}

impl NonFiniteTensors {
    /// Nothing is found yet. `at_start` are names of the model's tensors, as a module has them.
    #[must_use]
    pub fn apart_from(at_start: &[String]) -> Self {
        let named = |name: &String| format!("{}.{name}", Section::MODEL);
        Self { at_start: at_start.iter().map(named).collect(), ..Self::default() }
    }

    /// The names in [`at_start`](Self::at_start), as a module has them.
    #[must_use]
    pub fn names_at_start(&self) -> Vec<String> {
        let begin = format!("{}.", Section::MODEL);
        self.at_start.iter().filter_map(|name| Some(name.strip_prefix(&begin)?.to_owned())).collect()
    }

    /// Which tensors count.
    pub(crate) fn counted(&self) -> CountedTensors {
        CountedTensors { not: self.names_at_start().into_iter().collect() }
    }

    /// Notes a tensor that counts and has such values.
    pub(crate) fn note(&mut self, name: &str) {
        self.count += 1;
        self.first.get_or_insert_with(|| name.to_owned());
    }
}

/// The tensors that count: those of the model and of the optimizer, without those that were not finite at the
/// start.
#[derive(Debug)]
pub(crate) struct CountedTensors {
    /// Those, as a module has them.
    not: HashSet<String>,
}

impl CountedTensors {
    /// Whether a tensor counts. What the optimizer has of a parameter that was not finite at the start does
    /// not: `conv1.weight.momentum` is of `conv1.weight`.
    pub(crate) fn has(&self, name: &str) -> bool {
        let within = |section: &str| name.strip_prefix(section)?.strip_prefix('.');
        match (within(Section::MODEL), within(Section::OPTIMIZER)) {
            (Some(of), _) => !self.not.contains(of),
            (_, Some(of)) => !of.match_indices('.').any(|(end, _)| self.not.contains(&of[..end])),
            (None, None) => false,
        }
    }
}

/// The exponent's bits of each number in 16 bytes, and the lowest of them.
fn exponents(dtype: DType) -> Option<(u128, u128)> {
    match dtype {
        DType::F64 => Some((0x7FF0_0000_0000_0000 * LANES_64, 0x0010_0000_0000_0000 * LANES_64)),
        DType::F32 | DType::Flex32 => Some((0x7F80_0000 * LANES_32, 0x0080_0000 * LANES_32)),
        DType::BF16 => Some((0x7F80 * LANES_16, 0x0080 * LANES_16)),
        DType::F16 => Some((0x7C00 * LANES_16, 0x0400 * LANES_16)),
        _ => None,
    }
}

/// A one in each number of this many bits.
const LANES_64: u128 = u128::MAX / 0xFFFF_FFFF_FFFF_FFFF;
const LANES_32: u128 = u128::MAX / 0xFFFF_FFFF;
const LANES_16: u128 = u128::MAX / 0xFFFF;
const BLOCK_BYTES: usize = size_of::<u128>();

/// Whether all numbers in the bytes of a tensor (little-endian, whole numbers of them) are finite. True of
/// types that have only finite ones.
///
/// A number that is not finite has an exponent of ones. Adding the lowest bit to such an exponent carries
/// into the sign's bit, which is masked away before, and to no other: so several numbers are looked at in one
/// addition.
pub(crate) fn is_finite(dtype: DType, bytes: &[u8]) -> bool {
    let Some((exponent, lowest)) = exponents(dtype) else { return true };
    let (blocks, rest) = bytes.as_chunks::<BLOCK_BYTES>();
    let mut last = [0; BLOCK_BYTES];
    last[..rest.len()].copy_from_slice(rest);
    let mut carried = (u128::from_le_bytes(last) & exponent) + lowest;
    // Not an iterator: without optimisation that takes three times as long, and a save waits for it.
    let mut place = 0;
    while place < blocks.len() {
        carried |= (u128::from_le_bytes(blocks[place]) & exponent) + lowest;
        place += 1;
    }
    // What the exponent's bits and the lowest do not explain is a carry: the sign's bits.
    carried & (exponent + lowest) & !exponent == 0
}

/// The names of a module's tensors that have values that are not finite. Computed on the module's device; one
/// read at the end.
///
/// # Errors
///
/// [`Error::Snapshot`] when the device cannot be read.
pub fn non_finite_tensors<M: Module>(module: &M) -> Result<Vec<String>> {
    let mut finder = Finder::default();
    module.visit(&mut finder);
    let Finder { names, all_finite, .. } = finder;
    if all_finite.is_empty() {
        return Ok(Vec::new());
    }
    let read = Tensor::cat(all_finite, 0).try_into_data();
    let read = read.map_err(|error| Error::snapshot("the model cannot be read from its device", error))?;
    Ok(names
        .into_iter()
        .zip(read.iter::<bool>())
        .filter(|(_, finite)| !finite)
        .map(|(name, _)| name)
        .collect())
}

#[derive(Default)]
struct Finder {
    walk: Walk,
    names: Vec<String>,
    /// For each of these tensors whether all its values are finite, on the first one's device.
    all_finite: Vec<Tensor<1, Bool>>,
}

impl ModuleVisitor for Finder {
    fn enter_module(&mut self, name: &str, container_type: &str) {
        self.walk.enter(name, container_type);
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.walk.exit();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let value = param.val();
        if exponents(value.dtype()).is_none() {
            return;
        }
        let finite = value.is_finite().all();
        let device = self.all_finite.first().map_or_else(|| finite.device(), Tensor::device);
        self.names.push(self.walk.place());
        self.all_finite.push(finite.to_device(&device));
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{bf16, f16};

    use super::*;

    /// Each of these numbers at each place among finite ones, which include the largest and the smallest.
    fn is_found<T: Copy, const N: usize>(
        dtype: DType,
        finite: &[T],
        others: &[T],
        bytes: impl Fn(T) -> [u8; N],
    ) {
        for length in [1, 3, 16, 37, 64, 129] {
            let fill = |place: usize| finite[place % finite.len()];
            let all: Vec<T> = (0..length).map(fill).collect();
            let flat = |all: &[T]| all.iter().flat_map(|number| bytes(*number)).collect::<Vec<u8>>();
            assert!(is_finite(dtype, &flat(&all)), "{dtype:?} {length}");
            for (place, other) in
                (0..length).flat_map(|place| others.iter().map(move |other| (place, *other)))
            {
                let mut all = all.clone();
                all[place] = other;
                assert!(!is_finite(dtype, &flat(&all)), "{dtype:?} {length} {place}");
            }
        }
    }

    #[test]
    fn each_number_that_is_not_finite_is_found_at_each_place() {
        let (nan, inf) = (f32::NAN, f32::INFINITY);
        let finite = [0.0, -0.0, 1.0, f32::MAX, f32::MIN, f32::MIN_POSITIVE, 1e-45, -1.5e-39];
        is_found(DType::F32, &finite, &[nan, -nan, inf, -inf], f32::to_le_bytes);
        let wide = [0.0, -0.0, f64::MAX, f64::MIN, f64::MIN_POSITIVE, 5e-324, -1.0];
        is_found(DType::F64, &wide, &[f64::NAN, f64::INFINITY, f64::NEG_INFINITY], f64::to_le_bytes);
        let half = [f16::ZERO, f16::MAX, f16::MIN, f16::MIN_POSITIVE_SUBNORMAL, f16::NEG_ONE];
        is_found(DType::F16, &half, &[f16::NAN, f16::INFINITY, f16::NEG_INFINITY], f16::to_le_bytes);
        let brain = [bf16::ZERO, bf16::MAX, bf16::MIN, bf16::MIN_POSITIVE_SUBNORMAL, bf16::NEG_ONE];
        is_found(DType::BF16, &brain, &[bf16::NAN, bf16::INFINITY, bf16::NEG_INFINITY], bf16::to_le_bytes);
    }

    #[test]
    fn whole_numbers_are_finite_whatever_their_bits() {
        for dtype in [DType::U8, DType::I32, DType::I64, DType::U32] {
            assert!(is_finite(dtype, &[0xFF; 64]));
        }
    }

    #[test]
    fn what_was_not_finite_at_the_start_does_not_count() {
        let known = NonFiniteTensors::apart_from(&["mask".to_owned()]);
        assert_eq!(known.at_start, ["model.mask"]);
        assert_eq!(known.names_at_start(), ["mask"]);
        for counted in ["model.fc.weight", "model.mask2", "optimizer.fc.weight.moment_1", "optimizer.mask2.m"]
        {
            assert!(known.counted().has(counted), "{counted}");
        }
        for other in
            ["model.mask", "optimizer.mask.moment_1", "user.ema.fc.weight", "history.metrics", "scheduler.a"]
        {
            assert!(!known.counted().has(other), "{other}");
        }
    }

    #[test]
    fn the_words_name_the_first_tensor() {
        let mut found = NonFiniteTensors::default();
        found.note("model.a");
        assert_eq!(found.to_string(), "values that are not finite in the tensor model.a");
        found.note("model.b");
        assert_eq!(found.to_string(), "values that are not finite in 2 tensors (the first is model.a)");
    }
}
