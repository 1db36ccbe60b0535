//! Other people's formats: what `export` and `import` share. Reading and writing safetensors, reading PyTorch's files, and
//! the way from burn's names and layouts to PyTorch's and back.

mod dtypes;
mod guard;
mod kind;
mod layouts;
mod limits;
mod notes;
mod pytorch;
mod read_safetensors;
mod report;
mod write_safetensors;

use burn_ckpt::burn_pack::Tensor;

pub use kind::Kind;
pub use layouts::{LayoutName, tensor_as_burn, tensor_as_pytorch};
pub use limits::check_limits;
pub use notes::{Notes, copy_module_types};
pub use pytorch::read as read_pytorch;
pub use read_safetensors::read as read_safetensors;
pub use report::{refuse_existing, same_file, written};
pub use write_safetensors::write as write_safetensors;

/// What a file of another format holds: its tensors, still on disk, and what it notes of itself.
pub struct Foreign {
    pub tensors: Vec<Tensor>,
    pub notes: Notes,
}
