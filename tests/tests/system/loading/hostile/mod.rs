//! Files that no save wrote, or that are something else than a file: each ends in an error, in bounded time
//! and memory.

mod bounded_memory;
mod fuzzed_files;
mod hostile_headers;
mod special_files;
mod special_places;
