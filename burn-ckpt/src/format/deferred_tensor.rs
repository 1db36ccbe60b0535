//! A tensor whose bytes are read from its device when somebody asks for them.

use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use burn::tensor::{Bytes, DType, ExecutionError, Tensor, TensorData, kind::Basic, read_sync};

use crate::error::Result;

/// A tensor of a section. With `at_once`, its device is asked now, and the answer is waited for when it is written.
pub(crate) fn deferred<const D: usize, K: Basic>(
    name: String,
    param_id: u64,
    tensor: Tensor<D, K>,
    at_once: bool,
) -> burn_pack::Tensor
where
    Tensor<D, K>: Send + 'static,
{
    let (dtype, shape) = (tensor.dtype(), tensor.shape());
    if matches!(dtype, DType::QFloat(_)) {
        // The length of packed values does not follow from shape and type: they have to be read now.
        let (bytes, shape, dtype) = tensor.into_data().into_parts();
        return burn_pack::Tensor::new(name, dtype, shape, Some(param_id), bytes);
    }
    let byte_len = shape.num_elements() * dtype.size();
    let source = match at_once {
        true => Source::ask(tensor),
        false => Source::Device(tensor),
    };
    let source = Mutex::new(source);
    let read = move || source.lock().unwrap_or_else(PoisonError::into_inner).bytes();
    burn_pack::Tensor::deferred(name, dtype, shape, Some(param_id), byte_len, read)
}

/// Where a tensor's bytes are to be had.
enum Source<T> {
    /// Not read yet. Nobody but this has the tensor, as soon as training has gone on: then its memory becomes the bytes, where
    /// a clone would have to be copied.
    Device(T),
    /// Asked for.
    Asked(Answer),
    /// Read, with windows of it to be had.
    Host(Bytes),
    /// It could not be read.
    Lost,
}

/// What a device answers, when it does.
type Answer = Pin<Box<dyn Future<Output = Result<TensorData, ExecutionError>> + Send>>;

impl<const D: usize, K: Basic> Source<Tensor<D, K>>
where
    Tensor<D, K>: Send + 'static,
{
    fn ask(tensor: Tensor<D, K>) -> Self {
        let mut answer: Answer = Box::pin(tensor.into_data_async());
        // It is asked when somebody looks for the answer.
        match answer.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(data) => Self::Asked(Box::pin(std::future::ready(data))),
            Poll::Pending => Self::Asked(answer),
        }
    }

    fn bytes(&mut self) -> Result<Bytes, burn_pack::Error> {
        let data = match std::mem::replace(self, Self::Lost) {
            Self::Device(tensor) => Some(tensor.try_into_data()),
            Self::Asked(answer) => Some(read_sync(answer)),
            read => {
                *self = read;
                None
            }
        };
        if let Some(data) = data {
            let data = data.map_err(|error| unreadable(&error.to_string()))?;
            *self = Self::Host(in_windows(data.into_parts().0));
        }
        let Self::Host(bytes) = self else { return Err(unreadable("it could not be, before")) };
        bytes.view(0, bytes.len()).map_err(|error| unreadable(&format!("{error:?}")))
    }
}

fn unreadable(reason: &str) -> burn_pack::Error {
    burn_pack::Error::IoError(format!("cannot be read from its device: {reason}"))
}

/// The same bytes, of which a part can be looked at without a copy. Those on a device, or in a file, have that by themselves, and are
/// read window by window.
pub(crate) fn in_windows(bytes: Bytes) -> Bytes {
    if bytes.view(0, 0).is_ok() { bytes } else { bytes.shared() }
}
