//! Training loops that are not the trainer's: burn's own, or a program's. They save at the ends of epochs.

pub(crate) mod ddp;
pub(crate) mod epoch_end_saves;
pub(crate) mod users_loop;

pub use ddp::ddp;
