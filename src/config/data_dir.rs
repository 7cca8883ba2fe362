//! Where state is kept when nobody says where.

use std::path::PathBuf;

/// Where state is kept: `$STATE_DIRECTORY`, else `$XDG_STATE_HOME/vigild`, else `~/.local/state/vigild`.
#[allow(clippy::disallowed_methods)]
pub fn data_dir() -> Option<PathBuf> {
    let var = |name| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    // systemd gives several directories separated by colons; the first is ours.
    let state = var("STATE_DIRECTORY").map(|v| PathBuf::from(v.to_string_lossy().split(':').next().unwrap_or_default()));
    state.or_else(|| var("XDG_STATE_HOME").map(|v| v.join("vigild"))).or_else(|| var("HOME").map(|v| v.join(".local/state/vigild")))
}
