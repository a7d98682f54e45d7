//! The dance of a group, told step by step, and any dance that luck makes up.

mod any;
mod instances;
mod rounds;
mod table;
