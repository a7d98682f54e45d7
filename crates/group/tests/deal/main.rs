//! A group whose coordinator deals: told step by step, and whatever luck makes of it.

mod any;
mod arriving;
mod table;
mod ways;
