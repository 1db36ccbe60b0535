//! `burn-ckpt import`: PyTorch's and other files, whole and in parts, with other names, and hostile ones.

mod conversion;
mod hostile_files;
mod names;
mod shards;
