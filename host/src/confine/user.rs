//! Leaving root: a process that needed it for a port or a folder goes on as somebody who may do little. It never comes
//! back.

use std::fmt;
use std::io;
use std::path::Path;

const PASSWD: &str = "/etc/passwd";

/// Somebody of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    name: String,
    uid: u32,
    gid: u32,
}

impl fmt::Display for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}:{})", self.name, self.uid, self.gid)
    }
}

impl User {
    /// A name in `/etc/passwd`, or `UID:GID`.
    ///
    /// # Errors
    /// In words, where there is nobody of that name, or it is root.
    pub fn find(text: &str) -> Result<User, String> {
        let passwd = std::fs::read_to_string(PASSWD).unwrap_or_default();
        let user = User::among(&passwd, text)
            .ok_or_else(|| format!("there is no user `{text}` in {PASSWD}, and it is not UID:GID"))?;
        match user.uid {
            0 => Err(format!("`{text}` is root")),
            _ => Ok(user),
        }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    fn among(passwd: &str, text: &str) -> Option<User> {
        if let Some((uid, gid)) = text.split_once(':') {
            return Some(User { name: text.to_owned(), uid: uid.parse().ok()?, gid: gid.parse().ok()? });
        }
        passwd.lines().find_map(|line| {
            let mut fields = line.split(':');
            let name = fields.next().filter(|name| *name == text && !name.is_empty())?;
            // The second field stood for a password once.
            let (uid, gid) = (fields.nth(1)?.parse().ok()?, fields.next()?.parse().ok()?);
            Some(User { name: name.to_owned(), uid, gid })
        })
    }

    /// Gives them a folder that was made for them and is empty. One that somebody used is left as it is.
    pub fn own(&self, folder: &Path) -> io::Result<()> {
        if std::fs::read_dir(folder)?.next().is_some() {
            return Ok(());
        }
        #[cfg(unix)]
        std::os::unix::fs::chown(folder, Some(self.uid), Some(self.gid))?;
        Ok(())
    }

    /// This process is theirs from here on: all its threads, all its rights.
    #[cfg(unix)]
    #[allow(unsafe_code, reason = "the standard library has no door to these calls")]
    pub fn take_over(&self) -> io::Result<()> {
        let groups = [self.gid];
        let done = |answer: libc::c_int| if answer == 0 { Ok(()) } else { Err(io::Error::last_os_error()) };
        // SAFETY: the call reads as many numbers from the array as it has.
        done(unsafe { libc::setgroups(groups.len() as _, groups.as_ptr()) })?;
        // The group first: once the user is another one, it could not be left any more.
        // SAFETY: the call takes a number and touches no memory of ours.
        done(unsafe { libc::setgid(self.gid) })?;
        // SAFETY: as above.
        done(unsafe { libc::setuid(self.uid) })?;
        // SAFETY: as above. It must fail: what can come back has not left.
        match unsafe { libc::setuid(0) } {
            0 => Err(io::Error::other("root was left and could be taken again")),
            _ => Ok(()),
        }
    }

    #[cfg(not(unix))]
    pub fn take_over(&self) -> io::Result<()> {
        Err(io::Error::from(io::ErrorKind::Unsupported))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOME: &str =
        "root:x:0:0:root:/:/bin/sh\nbroken\n::7:7\ntrackway:x:990:991:Trackway:/nonexistent:/bin/false\n";

    #[test]
    fn a_user_is_found_by_name_or_given_by_numbers() {
        let found = User::among(SOME, "trackway").expect("it is there");
        assert_eq!(found.to_string(), "trackway (990:991)");
        assert_eq!(User::among(SOME, "12:34").map(|user| (user.uid, user.gid)), Some((12, 34)));
        for nobody in ["track", "broken", "", "12:", "12:x", ":12"] {
            assert_eq!(User::among(SOME, nobody), None, "{nobody}");
        }
    }

    #[test]
    fn root_is_nobody_to_leave_root_for() {
        assert!(User::find("root").is_err());
        assert!(User::find("0:0").is_err());
    }
}
