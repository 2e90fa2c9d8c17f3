//! Errors of the parser that concern the environment: they name the variable and not a flag that nobody gave.
//!
//! Architecture invariant: pure; the caller passes the words of its command line.

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue};
use clap::{Arg, Command, Error};

/// The same error, naming the environment variable that the wrong value comes from. `words` is the command line
/// without the program's name.
#[must_use]
pub fn naming_environment(program: &mut Command, error: Error, words: &[OsString]) -> Error {
    program.build();
    let Some(ContextValue::String(named)) = error.get(ContextKind::InvalidArg) else { return error };
    let arg = program.get_arguments().find(|arg| arg.to_string() == *named);
    let variable = arg.filter(|arg| !is_given(arg, words)).and_then(Arg::get_env);
    let Some(variable) = variable.map(|name| name.to_string_lossy().into_owned()) else { return error };
    let mut error = error;
    error.insert(
        ContextKind::InvalidArg,
        ContextValue::String(format!("the environment variable {variable}")),
    );
    error
}

fn is_given(arg: &Arg, words: &[OsString]) -> bool {
    let long = arg.get_long().map(|long| format!("--{long}"));
    let short = arg.get_short().map(|short| format!("-{short}"));
    words.iter().map(|word| word.to_string_lossy()).any(|word| {
        let long = long.as_ref().is_some_and(|long| word.split('=').next() == Some(long));
        long || short
            .as_ref()
            .is_some_and(|short| !word.starts_with("--") && word.starts_with(short.as_str()))
    })
}
