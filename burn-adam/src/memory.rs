//! The numbers of tensors on the CPU, taken out and put back. No copy is made where nothing else holds them.

use burn::tensor::{DType, Device, Tensor, TensorData};
use rayon::prelude::*;

/// Elements that a thread takes at a time: four arrays of them fit the cache next to a core.
const PIECE: usize = 8 * 1024;

/// If the tensors are alike, of `f32`, and in this process's memory.
pub fn is_at_hand<const D: usize>(tensors: [&Tensor<D>; 4]) -> bool {
    let cpu = Device::flex();
    let shape = tensors[0].shape();
    tensors.iter().all(|tensor| {
        let device = tensor.device();
        device == cpu && !device.is_autodiff() && tensor.dtype() == DType::F32 && tensor.shape() == shape
    })
}

/// Calls `update` with the elements of the first three, which it changes, and of the last, piece by piece, on
/// all threads. Gives back the three.
///
/// # Panics
///
/// If [`is_at_hand`] does not hold.
pub fn in_pieces<const D: usize>(
    changed: [Tensor<D>; 3],
    read: Tensor<D>,
    update: impl Fn([&mut [f32]; 3], &[f32]) + Sync,
) -> [Tensor<D>; 3] {
    let mut changed = changed.map(Tensor::into_data);
    let read = read.into_data();
    let [first, second, third] = changed.each_mut().map(numbers_mut);
    let read = numbers(&read);
    if read.len() <= PIECE {
        update([first, second, third], read);
    } else {
        first
            .par_chunks_mut(PIECE)
            .zip(second.par_chunks_mut(PIECE))
            .zip(third.par_chunks_mut(PIECE))
            .zip(read.par_chunks(PIECE))
            .for_each(|(((first, second), third), read)| update([first, second, third], read));
    }
    // With the type: the program can have configured another one for new tensors.
    changed.map(|data| Tensor::from_data(data, (&Device::flex(), DType::F32)))
}

#[expect(clippy::expect_used, reason = "the type was looked at before")]
fn numbers_mut(data: &mut TensorData) -> &mut [f32] {
    data.as_mut_slice().expect("a tensor of f32 has numbers of f32")
}

#[expect(clippy::expect_used, reason = "the type was looked at before")]
fn numbers(data: &TensorData) -> &[f32] {
    data.as_slice().expect("a tensor of f32 has numbers of f32")
}
