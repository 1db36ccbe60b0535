//! A tensor whose bytes are read from its device when it is written.

use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use burn::tensor::{Bytes, DType, ExecutionError, Tensor, TensorData, kind::Basic, read_sync};
use parking_lot::Mutex;

use crate::error::Result;

/// When a tensor is read from its device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadTiming {
    /// When it is written.
    Later,
    /// The read starts now, and is waited for when the tensor is written. For devices of other machines: they
    /// work in the order of requests, so a read between the operations of a training loop would take as long
    /// as a step, and delay the steps too.
    Now,
}

/// A tensor of a section.
pub(crate) fn deferred<const D: usize, K: Basic>(
    name: String,
    param_id: u64,
    tensor: Tensor<D, K>,
    reading: ReadTiming,
) -> burn_pack::Tensor
where
    Tensor<D, K>: Send + 'static,
{
    let (dtype, shape) = (tensor.dtype(), tensor.shape());
    if matches!(dtype, DType::QFloat(_)) {
        // The length of packed values does not follow from shape and type, so they are read now.
        let (bytes, shape, dtype) = tensor.into_data().into_parts();
        return burn_pack::Tensor::new(name, dtype, shape, Some(param_id), bytes);
    }
    let byte_len = shape.num_elements() * dtype.size();
    let source = match reading {
        ReadTiming::Later => Source::Device(tensor),
        ReadTiming::Now => Source::start_reading(tensor),
    };
    let source = Mutex::new(source);
    let read = move || source.lock().bytes();
    burn_pack::Tensor::deferred(name, dtype, shape, Some(param_id), byte_len, read)
}

/// Where a tensor's bytes are.
enum Source<T> {
    /// On the device, not read yet. After the next optimizer step this is the only owner of the tensor, so
    /// that reading it moves its memory instead of copying it.
    Device(T),
    /// Being read.
    Reading(PendingRead),
    /// In host memory, where windows of it can be viewed.
    Host(Bytes),
    /// An earlier read failed.
    Failed,
}

/// The pending result of a read from a device.
type PendingRead = Pin<Box<dyn Future<Output = Result<TensorData, ExecutionError>> + Send>>;

impl<const D: usize, K: Basic> Source<Tensor<D, K>>
where
    Tensor<D, K>: Send + 'static,
{
    fn start_reading(tensor: Tensor<D, K>) -> Self {
        let mut read: PendingRead = Box::pin(tensor.into_data_async());
        // The request is sent by the first poll.
        match read.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(data) => Self::Reading(Box::pin(std::future::ready(data))),
            Poll::Pending => Self::Reading(read),
        }
    }

    fn bytes(&mut self) -> Result<Bytes, burn_pack::Error> {
        let data = match std::mem::replace(self, Self::Failed) {
            Self::Device(tensor) => Some(tensor.try_into_data()),
            Self::Reading(read) => Some(read_sync(read)),
            other => {
                *self = other;
                None
            }
        };
        if let Some(data) = data {
            let data = data.map_err(|error| unreadable(&error.to_string()))?;
            *self = Self::Host(in_windows(data.into_parts().0));
        }
        let Self::Host(bytes) = self else { return Err(unreadable("an earlier read failed")) };
        // `in_windows` made them so that they can be viewed.
        bytes.view(0, bytes.len()).map_err(|_| unreadable("its bytes cannot be viewed without a copy"))
    }
}

fn unreadable(reason: &str) -> burn_pack::Error {
    burn_pack::Error::IoError(format!("cannot be read from its device: {reason}"))
}

/// The same bytes, of which windows can be viewed without a copy. Bytes on a device or in a file support that
/// already, and are read window by window.
pub(crate) fn in_windows(bytes: Bytes) -> Bytes {
    if bytes.view(0, 0).is_ok() { bytes } else { bytes.shared() }
}
