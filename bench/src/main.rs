//! The programs that measure, for `cargo xtask bench`: each prints rows, one a line. They judge
//! nothing. `trackway-bench PROGRAM --name value ...`

mod arguments;
mod client;
mod evicted;
mod fill;
mod flood;
mod floor;
mod host;
mod load;
mod neighbour;
mod parked;
mod row;
mod sandbox;
mod steps;
mod world;

use anyhow::{Context, Result, bail};
use std::path::Path;
use tokio::runtime::{Builder, Runtime};

use arguments::Arguments;

/// As the host itself, which some programs measure in this process.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> Result<()> {
    let mut words = std::env::args().skip(1);
    let program = words.next().context("which program? load, floor, engine, neighbour, start, fill, world")?;
    let arguments = Arguments::read(words)?;
    match program.as_str() {
        "load" => one_thread()?.block_on(load::measure(&arguments)),
        "floor" => one_thread()?.block_on(floor::measure(&arguments)),
        "neighbour" => one_thread()?.block_on(neighbour::measure(&arguments)),
        "start" => one_thread()?.block_on(load::start(&arguments)),
        "fill" => many_threads()?.block_on(fill::fill(&arguments)),
        "world" => {
            world::serve(arguments.text("address")?)?;
            loop {
                std::thread::park();
            }
        }
        "engine" => many_threads()?.block_on(engine(&arguments)),
        _ => bail!("there is no program `{program}`"),
    }
}

/// The client takes no more of the machine than it must.
fn one_thread() -> Result<Runtime> {
    Ok(Builder::new_current_thread().enable_all().build()?)
}

fn many_threads() -> Result<Runtime> {
    Ok(Builder::new_multi_thread().enable_all().build()?)
}

/// `engine --guests PATH --folder PATH --works WORK,...`: a host in this process, without HTTP.
async fn engine(arguments: &Arguments) -> Result<()> {
    let guests = Path::new(arguments.text("guests")?);
    let folder = tempfile::Builder::new().prefix("engine-").tempdir_in(arguments.text("folder")?)?;
    for work in arguments.list("works")? {
        match work {
            "instance" => sandbox::measure(guests, folder.path()).await?,
            "step" => steps::step(guests, folder.path()).await?,
            "replay" => steps::replay(guests, folder.path()).await?,
            "replay.http" => steps::replay_http(guests, folder.path()).await?,
            "evicted" | "evicted.http" => {
                let workflow = if work == "evicted" { "evicted" } else { "evicted_http" };
                let evictions = arguments.get_or("evictions", 1_000)?;
                evicted::measure(guests, folder.path(), work, workflow, evictions).await?;
            }
            "parked" => parked::measure(guests, folder.path()).await?,
            _ => bail!("`{work}` is no work of the engine"),
        }
    }
    Ok(())
}
