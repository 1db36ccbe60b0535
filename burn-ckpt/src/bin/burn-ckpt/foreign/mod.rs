//! Foreign formats, for `export` and `import`: reading and writing safetensors, reading PyTorch's files and
//! models in several files, casting, and converting between burn's and PyTorch's names and layouts.

mod cast;
mod catch_panics;
mod dtypes;
mod file_format;
mod layouts;
mod limits;
mod notes;
mod pytorch;
mod read_safetensors;
mod report;
mod shards;
mod write_safetensors;

use burn_ckpt::burn_pack::Tensor;

pub use cast::{FloatType, cast};
pub use file_format::FileFormat;
pub use layouts::{LayoutName, other_in_pytorch, tensor_as_burn, tensor_as_pytorch};
pub use limits::check_limits;
pub use notes::{Notes, copy_module_types};
pub use pytorch::read as read_pytorch;
pub use read_safetensors::read as read_safetensors;
pub use report::{
    check_checkpoint_name, check_destination, check_destination_beside, copy_destination, existing,
    print_copied, print_written, same_file,
};
pub use shards::{check_is_whole, listed, read as read_shards};
pub use write_safetensors::write as write_safetensors;

/// The contents of a file of another format: its tensors, which stay on disk until they are read, and its
/// notes.
pub struct Foreign {
    pub tensors: Vec<Tensor>,
    pub notes: Notes,
}
