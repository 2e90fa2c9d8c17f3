//! The history of lines, in the XDG state directory, readable for its owner only.

use std::env;
use std::fs::{DirBuilder, OpenOptions};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustyline::Editor;
use rustyline::history::FileHistory;

use super::assistant::Assistant;

/// Where lines are kept; nowhere when there is no such place. A conversation works without.
pub(super) struct History {
    file: Option<PathBuf>,
}

impl History {
    /// Loads the lines of earlier conversations.
    pub(super) fn load(editor: &mut Editor<Assistant, FileHistory>) -> History {
        let file =
            state_directory().map(|state| state.join("bank/history")).filter(|file| prepare(file).is_ok());
        if let Some(file) = &file {
            // A history that cannot be read is an empty one.
            let _ = editor.load_history(file);
        }
        History { file }
    }

    /// Adds a line at once, so that it survives whatever ends this process.
    pub(super) fn keep(&self, editor: &mut Editor<Assistant, FileHistory>, line: &str) {
        if !line.trim().is_empty()
            && matches!(editor.add_history_entry(line), Ok(true))
            && let Some(file) = &self.file
        {
            // The line stays in this conversation even when the file is gone.
            let _ = editor.append_history(file);
        }
    }
}

fn state_directory() -> Option<PathBuf> {
    let absolute = |name: &str| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute("XDG_STATE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".local/state")))
}

/// Makes directory and file before the editor does, with rights for the owner only.
fn prepare(file: &Path) -> std::io::Result<()> {
    if let Some(directory) = file.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    }
    OpenOptions::new().append(true).create(true).mode(0o600).open(file).map(drop)
}
