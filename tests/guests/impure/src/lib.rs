//! Ways to the world that a workflow must not find: each workflow tries one.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::time::{Instant, SystemTime};

use trackway_sdk::prelude::*;

#[workflow]
pub async fn instant(_ctx: Ctx) -> u64 {
    Instant::now().elapsed().as_secs()
}

#[workflow]
pub async fn system_time(_ctx: Ctx) -> bool {
    SystemTime::now() > SystemTime::UNIX_EPOCH
}

#[workflow]
pub async fn thread(_ctx: Ctx) -> u8 {
    std::thread::spawn(|| 7).join().expect("it ends")
}

#[workflow]
pub async fn thread_sleep(_ctx: Ctx) {
    std::thread::sleep(Duration::from_millis(1));
}

/// A plain `?`: the failure of std has to be as clear as a panic.
#[workflow]
pub async fn file(_ctx: Ctx) -> Result<String, Failure> {
    Ok(std::fs::read_to_string("/etc/passwd")?)
}

#[workflow]
pub async fn file_unwrapped(_ctx: Ctx) -> String {
    std::fs::read_to_string("/etc/passwd").expect("it can be read")
}

#[workflow]
pub async fn socket(_ctx: Ctx) -> Result<(), Failure> {
    std::net::TcpStream::connect("127.0.0.1:80")?;
    Ok(())
}

#[workflow]
pub async fn socket_unwrapped(_ctx: Ctx) {
    std::net::TcpStream::connect("127.0.0.1:80").expect("it can be reached");
}

#[workflow]
pub async fn environment(_ctx: Ctx) -> Vec<String> {
    std::env::vars().map(|(name, _)| name).collect()
}

/// The order of a map is random elsewhere; here it has to be the same on every replay.
#[workflow]
pub async fn hash_order(ctx: Ctx) -> Result<(u64, Vec<u64>), Failure> {
    let map: HashMap<u64, u64> = (0..100).map(|number| (number, number)).collect();
    let order: Vec<u64> = map.into_keys().collect();
    let same = ctx.step(echo, order).await?;
    Ok((RandomState::new().hash_one(7), same))
}

/// Addresses differ between machines elsewhere.
#[workflow]
pub async fn address(_ctx: Ctx) -> usize {
    let boxed = Box::new(7_u8);
    std::ptr::from_ref(&*boxed).addr()
}

/// An effect of a function, in a workflow.
#[workflow]
pub async fn http_in_workflow(_ctx: Ctx) -> Result<u16, Failure> {
    Ok(http::get("http://127.0.0.1:1/").send().await?.status())
}

/// A function called as plain code, not as a step.
#[workflow]
pub async fn function_without_step(_ctx: Ctx) -> Result<u16, Failure> {
    get(()).await
}

/// The run's own randomness and clock are the same on every replay.
#[workflow]
pub async fn allowed(ctx: Ctx) -> Result<(u64, SystemTime), Failure> {
    let random = ctx.random();
    let order = ctx.step(echo, vec![random]).await?;
    Ok((order[0], ctx.now()))
}

#[function]
fn echo(numbers: Vec<u64>) -> Vec<u64> {
    numbers
}

#[function(hosts = ["http://127.0.0.1:1"])]
async fn get() -> Result<u16, Failure> {
    Ok(http::get("http://127.0.0.1:1/").send().await?.status())
}

export!(
    instant,
    system_time,
    thread,
    thread_sleep,
    file,
    file_unwrapped,
    socket,
    socket_unwrapped,
    environment,
    hash_order,
    address,
    http_in_workflow,
    function_without_step,
    allowed,
    echo,
    get,
);
