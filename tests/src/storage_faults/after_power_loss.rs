//! Which states of the disk a loss of power can leave, from a record.
