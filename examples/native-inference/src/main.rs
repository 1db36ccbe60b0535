//! Classifies an image with a checkpoint of `digits`.

fn main() {}
