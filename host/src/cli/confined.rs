//! What a server does before it has a second thread: it takes its address, leaves root, and gives up what it does not
//! need. It never opens the data.

use std::fs::DirBuilder;
use std::net::TcpListener;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use crate::api;
use crate::confine::{self, Confined, Dumps, Kernel, Reach, User};
use crate::host::Host;
use crate::{Code, Error, Result};

use super::args;

/// The address of a server, taken while it may still take it. Waits for a killed server to let go of it.
pub fn bind(listen: &str, data: &Path) -> Result<TcpListener> {
    let internal = |error: std::io::Error| Error::new(Code::Internal, format!("the listener: {error}"));
    // Gone with its threads when the address is taken.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(internal)?;
    runtime.block_on(async {
        Host::wait_for_dying_owner(data.to_owned()).await?;
        api::bind(listen).await?.into_std().map_err(internal)
    })
}

/// Makes the data folder where it is missing, and goes on as `user` if there is one.
pub fn leave_root(user: Option<&str>, data: &Path) -> Result<()> {
    let cannot = |what: String, error: &dyn std::fmt::Display| Error::new(Code::File, format!("{what}: {error}"));
    let made = DirBuilder::new().recursive(true).mode(0o700).create(data);
    made.map_err(|error| cannot(format!("{} cannot be made", data.display()), &error))?;
    let Some(user) = user else {
        if confine::is_root() {
            tracing::warn!("the server runs as root, which it does not need: --user NAME leaves root at its start");
        }
        return Ok(());
    };
    let user = User::find(user).map_err(|why| Error::new(Code::BadConfig, why).hint("--user NAME"))?;
    if !confine::is_root() {
        return Err(Error::new(Code::BadConfig, "only root can go on as somebody else").hint("leave --user away"));
    }
    user.own(data).map_err(|error| cannot(format!("{} cannot be given to {user}", data.display()), &error))?;
    user.take_over().map_err(|error| Error::new(Code::BadConfig, format!("cannot go on as {user}: {error}")))?;
    let probe = tempfile::Builder::new().prefix(".trackway-user").tempfile_in(data);
    match probe {
        Ok(_) => tracing::info!("root is left; from here on the server is {user}"),
        Err(error) => {
            let hint = format!("chown -R {} '{}'", user.name(), data.display());
            return Err(cannot(format!("{user} cannot write to {}", data.display()), &error).hint(hint));
        }
    }
    Ok(())
}

/// Where a file stands.
pub fn folder_of(file: &Path) -> PathBuf {
    let whole = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
    whole.parent().map_or_else(|| PathBuf::from("/"), Path::to_owned)
}

/// Gives up everything but the data folder, `read`, and the network. Says what this kernel does not let it give up.
pub fn give_up(flags: &args::Confine, data: &Path, read: Vec<PathBuf>) -> Result<Confined> {
    let own = vec![std::path::absolute(data).unwrap_or_else(|_| data.to_owned())];
    let reach = Reach { own, read, landlock: flags.landlock(), dumps: flags.dumps() };
    let confined = confine::server(&reach).map_err(|error| {
        Error::new(Code::Internal, format!("the server cannot be confined: {error}"))
            .hint("--no-landlock starts it with all files of its user in reach")
    })?;
    let kernel = Kernel::look();
    for lack in kernel.lacks() {
        tracing::warn!("this kernel has {lack}");
    }
    if flags.no_landlock {
        tracing::warn!("--no-landlock: all files of its user are in the reach of the server");
    }
    if reach.dumps == Dumps::AsTheSystemSays {
        tracing::warn!("--allow-dumps: keys and secrets in the memory of the server can be read and dumped");
    }
    tracing::info!(files = confined.files, calls = confined.calls, dumps = confined.dumps, "confined ({kernel})");
    Ok(confined)
}
