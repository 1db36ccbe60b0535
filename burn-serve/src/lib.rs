//! Lends this machine's devices to training programs on other machines.
