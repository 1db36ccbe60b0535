//! Prints burn's default device: what `BURN_DEVICE` names, or the first backend that the program was built
//! with. Tests show by it that a program that looks for that device fails.

fn main() {
    println!("{}", burn_trainer::environment::device_name(&burn::tensor::Device::default()));
}
