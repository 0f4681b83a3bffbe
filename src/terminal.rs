//! Texts that commands read and print, and the error of an argument that they cannot use.
//!
//! Does not own the commands and their arguments ([`crate::cli`]).

use std::io::{self, ErrorKind, Read, Write};

use anyhow::{Context, Result, bail};
use thiserror::Error;

/// An argument that the command cannot use.
#[derive(Debug, Error)]
#[error("{0}")]
pub(crate) struct InvalidArgument(pub(crate) String);

/// Formats an error with its causes, each once: many errors end with the text of their cause.
pub(crate) fn error_with_causes(error: &anyhow::Error) -> String {
    let mut said = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if said.is_empty() {
            said = cause;
        } else if !said.contains(&cause) {
            said += ": ";
            said += &cause;
        }
    }
    said
}

/// Reads a text from standard input, without the end of its last line.
///
/// # Errors
/// Fails if it cannot be read, is empty, longer than a mebibyte, or no UTF-8.
pub(crate) fn standard_input() -> Result<String> {
    const BYTES_MAX: usize = 1 << 20;
    let mut text = String::new();
    let mut input = io::stdin().lock().take(BYTES_MAX as u64 + 1);
    input.read_to_string(&mut text).context("standard input")?;
    if text.len() > BYTES_MAX {
        bail!("standard input has more than 1 MiB");
    }
    let text = text.strip_suffix('\n').unwrap_or(&text);
    match text.strip_suffix('\r').unwrap_or(text) {
        "" => bail!("standard input is empty"),
        text => Ok(text.to_owned()),
    }
}

/// Prints a text. A reader that closes the pipe early (`| head`) is no error.
pub(crate) fn print(text: &str) -> Result<()> {
    match io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        printed => printed.context("standard output"),
    }
}

#[cfg(test)]
mod tests {
    use super::error_with_causes;

    #[test]
    fn every_cause_of_an_error_is_printed_once() {
        let error = anyhow::anyhow!("the disk is full");
        let error = error.context("pins cannot be written: the disk is full").context("no pin");
        let told = error_with_causes(&error);
        assert_eq!(told, "no pin: pins cannot be written: the disk is full");
    }
}
