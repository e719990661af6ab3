//! What is read and who reads it: shared by the run that takes times and the one that counts allocations, which
//! are two programs because counting slows whoever allocates.

pub mod readers;
pub mod shapes;
pub mod walk;
