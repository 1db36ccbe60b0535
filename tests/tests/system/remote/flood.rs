//! A server that strangers send garbage to goes on serving, in bounded memory.
