//! Giving up root for good, once everything is bound that needs it.

use nix::errno::Errno;
use nix::unistd::{Gid, Uid, User, geteuid, getresgid, getresuid, initgroups, setresgid, setresuid};
use std::ffi::CString;

/// Why the process still is what it was, or must not go on.
#[derive(Debug, thiserror::Error)]
pub enum DropError {
    /// Nobody has that name.
    #[error("there is no user `{0}`")]
    Unknown(String),
    /// The users cannot be looked up.
    #[error("cannot look up the user `{user}`")]
    Lookup {
        /// The name.
        user: String,
        /// Why.
        source: Errno,
    },
    /// Root would remain root.
    #[error("the user `{0}` is root too")]
    Root(String),
    /// Another user than root cannot become someone else.
    #[error("only root can become `{0}`")]
    NotRoot(String),
    /// The kernel refuses.
    #[error("cannot {what} `{user}`")]
    Refused {
        /// The step.
        what: &'static str,
        /// The name.
        user: String,
        /// Why.
        source: Errno,
    },
    /// Root's rights could be had back: nothing may go on after this.
    #[error("root's rights are not gone")]
    Kept,
}

/// Makes the whole process, all of its threads, run as `user` with that user's groups and no capability, without a way back.
///
/// Call it after the sockets are bound and before the data directory is opened. Does nothing where the process runs as that
/// user already. Errors leave the process in an unknown state of rights: the daemon must end.
pub fn drop_to(user: &str) -> Result<(), DropError> {
    let found = User::from_name(user).map_err(|source| DropError::Lookup { user: user.to_owned(), source })?;
    let found = found.ok_or_else(|| DropError::Unknown(user.to_owned()))?;
    if found.uid.is_root() {
        return Err(DropError::Root(user.to_owned()));
    }
    if geteuid() == found.uid {
        return Ok(());
    }
    if !geteuid().is_root() {
        return Err(DropError::NotRoot(user.to_owned()));
    }
    let refused = |what| move |source| DropError::Refused { what, user: user.to_owned(), source };
    let name = CString::new(user).map_err(|_| DropError::Unknown(user.to_owned()))?;
    // Groups first: they cannot be changed any more once root is gone.
    initgroups(&name, found.gid).map_err(refused("take the groups of"))?;
    setresgid(found.gid, found.gid, found.gid).map_err(refused("take the group of"))?;
    setresuid(found.uid, found.uid, found.uid).map_err(refused("become"))?;
    let (u, g) = (getresuid().map_err(refused("ask for the ids of"))?, getresgid().map_err(refused("ask for the ids of"))?);
    let gone = [u.real, u.effective, u.saved] == [found.uid; 3] && [g.real, g.effective, g.saved] == [found.gid; 3];
    let back = setresuid(Uid::from_raw(0), Uid::from_raw(0), Uid::from_raw(0)).is_ok()
        || setresgid(Gid::from_raw(0), Gid::from_raw(0), Gid::from_raw(0)).is_ok();
    if gone && !back { Ok(()) } else { Err(DropError::Kept) }
}

/// Whether the process has root's rights.
pub fn is_root() -> bool {
    geteuid().is_root()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn a_user_that_is_none_or_root_is_refused_before_anything_changes() {
        let before = getresuid().expect("ids");
        assert!(matches!(drop_to("no-such-user-here"), Err(DropError::Unknown(u)) if u == "no-such-user-here"));
        assert!(matches!(drop_to("root"), Err(DropError::Root(_))));
        assert!(drop_to("nobody\0root").is_err());
        assert_eq!(getresuid().expect("ids"), before);
    }

    /// Not for the test process itself: it would lose its rights. The test below runs it in a process of its own.
    #[test]
    #[ignore = "run by the test below in a process of its own"]
    fn child_that_becomes_nobody() {
        // A thread that was there before loses its rights too.
        let (go, wait) = std::sync::mpsc::channel::<()>();
        let earlier = std::thread::spawn(move || {
            wait.recv().expect("told");
            std::fs::read_to_string("/proc/thread-self/status").expect("proc")
        });
        let nobody = User::from_name("nobody").expect("users").expect("nobody").uid;
        drop_to("nobody").expect("dropped");
        drop_to("nobody").expect("a second time changes nothing");
        go.send(()).expect("it waits");
        let status = earlier.join().expect("no panic");
        let line = |key: &str| status.lines().find_map(|l| l.strip_prefix(key)).expect("a line").split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(line("Uid:"), format!("{nobody} {nobody} {nobody} {nobody}"));
        for set in ["CapPrm:", "CapEff:"] {
            assert_eq!(line(set), "0000000000000000", "{set}");
        }
        println!("it is nobody now");
    }

    #[test]
    fn all_threads_lose_roots_rights_for_good() {
        let me = std::env::current_exe().expect("a test binary");
        let args = ["--exact", "service::privileges::tests::child_that_becomes_nobody", "--ignored", "--nocapture"];
        let out = Command::new(me).args(args).output().expect("it runs");
        let text = String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
        if is_root() {
            assert!(out.status.success() && text.contains("it is nobody now"), "{text}");
        } else {
            assert!(!out.status.success() && text.contains("NotRoot"), "{text}");
        }
    }
}
