//! Many operations at once. Whoever is woken is polled, in the order of the answers, so ten thousand
//! steps cost ten thousand polls and a replay sees the same order.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::future::{Future, IntoFuture, poll_fn};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

/// Waits for all of them and gives their outputs in the same order.
///
/// ```
/// # use trackway_sdk::prelude::*;
/// # #[function] fn count(text: String) -> usize { text.len() }
/// #[workflow]
/// async fn total(ctx: Ctx, texts: Vec<String>) -> Result<usize, Failure> {
///     let counts = join_all(texts.into_iter().map(|text| ctx.step(count, text))).await;
///     counts.into_iter().sum()
/// }
/// ```
pub async fn join_all<I>(futures: I) -> Vec<<I::Item as IntoFuture>::Output>
where
    I: IntoIterator<Item: IntoFuture>,
{
    let mut steps = Steps::new();
    let mut outputs = Vec::new();
    for (place, future) in futures.into_iter().enumerate() {
        let future = future.into_future();
        steps.push(async move { (place, future.await) });
        outputs.push(None);
    }
    while let Some((place, output)) = steps.next().await {
        outputs[place] = Some(output);
    }
    outputs.into_iter().map(|output| output.expect("every future has ended")).collect()
}

/// Waits for all of them, or for the first failure: then the others are dropped, which stops them.
///
/// ```
/// # use trackway_sdk::prelude::*;
/// # #[function] fn count(text: String) -> usize { text.len() }
/// #[workflow]
/// async fn total(ctx: Ctx, texts: Vec<String>) -> Result<usize, Failure> {
///     let counts = try_join_all(texts.into_iter().map(|text| ctx.step(count, text))).await?;
///     Ok(counts.into_iter().sum())
/// }
/// ```
///
/// # Errors
///
/// The first failure, by the order of the answers.
pub async fn try_join_all<I, T, E>(futures: I) -> Result<Vec<T>, E>
where
    I: IntoIterator<Item: IntoFuture<Output = Result<T, E>>>,
{
    let mut steps = Steps::new();
    let mut outputs = Vec::new();
    for (place, future) in futures.into_iter().enumerate() {
        let future = future.into_future();
        steps.push(async move { (place, future.await) });
        outputs.push(None);
    }
    while let Some((place, output)) = steps.next().await {
        outputs[place] = Some(output?);
    }
    Ok(outputs.into_iter().map(|output| output.expect("every future has ended")).collect())
}

/// As [`join_all`], with at most so many in flight: the next one starts when one has ended.
///
/// ```
/// # use trackway_sdk::prelude::*;
/// # #[function] fn count(text: String) -> usize { text.len() }
/// #[workflow]
/// async fn total(ctx: Ctx, texts: Vec<String>) -> Result<usize, Failure> {
///     let counts = join_all_limit(10, texts.into_iter().map(|text| ctx.step(count, text))).await;
///     counts.into_iter().sum()
/// }
/// ```
pub async fn join_all_limit<I>(in_flight_max: usize, futures: I) -> Vec<<I::Item as IntoFuture>::Output>
where
    I: IntoIterator<Item: IntoFuture>,
{
    let endless = async |output| Ok::<_, std::convert::Infallible>(output);
    let outputs = limited(in_flight_max, futures.into_iter().map(async |future| endless(future.await).await)).await;
    match outputs {
        Ok(outputs) => outputs,
        Err(never) => match never {},
    }
}

/// As [`try_join_all`], with at most so many in flight. The first failure drops those in flight, which
/// stops them, and starts no more.
///
/// # Errors
///
/// The first failure, by the order of the answers.
pub async fn try_join_all_limit<I, T, E>(in_flight_max: usize, futures: I) -> Result<Vec<T>, E>
where
    I: IntoIterator<Item: IntoFuture<Output = Result<T, E>>>,
{
    limited(in_flight_max, futures.into_iter().map(IntoFuture::into_future)).await
}

async fn limited<F, T, E>(in_flight_max: usize, futures: impl Iterator<Item = F>) -> Result<Vec<T>, E>
where
    F: Future<Output = Result<T, E>>,
{
    let mut waiting = futures.enumerate();
    let mut steps = Steps::new();
    let mut outputs: Vec<Option<T>> = Vec::new();
    loop {
        // None at all would never end.
        while steps.len() < in_flight_max.max(1)
            && let Some((place, future)) = waiting.next()
        {
            steps.push(async move { (place, future.await) });
            outputs.push(None);
        }
        match steps.next().await {
            Some((place, output)) => outputs[place] = Some(output?),
            None => return Ok(outputs.into_iter().map(|output| output.expect("every future has ended")).collect()),
        }
    }
}

/// Waits for the first to end, whether it succeeds or fails; the others are dropped, which stops them.
///
/// ```
/// # use trackway_sdk::prelude::*;
/// # #[function] fn ask(host: String) -> String { host }
/// #[workflow]
/// async fn quickest(ctx: Ctx, hosts: Vec<String>) -> Result<String, Failure> {
///     race(hosts.into_iter().map(|host| ctx.step(ask, host))).await
/// }
/// ```
///
/// # Panics
///
/// Where there are none: nobody could win.
pub async fn race<I>(futures: I) -> <I::Item as IntoFuture>::Output
where
    I: IntoIterator<Item: IntoFuture>,
{
    let mut steps = Steps::new();
    futures.into_iter().for_each(|future| steps.push(future));
    steps.next().await.expect("a race needs somebody to win it: it was given no futures")
}

/// A growing set of futures that run beside each other; [`next`](Steps::next) gives each output as it
/// comes. For fan-out whose size is not known before.
///
/// ```
/// # use trackway_sdk::prelude::*;
/// # #[function] fn links(page: String) -> Vec<String> { Vec::new() }
/// #[workflow]
/// async fn crawl(ctx: Ctx, start: String) -> Result<usize, Failure> {
///     let mut steps = Steps::new();
///     let mut pages = 1;
///     steps.push(ctx.step(links, start));
///     while let Some(found) = steps.next().await {
///         for page in found? {
///             pages += 1;
///             steps.push(ctx.step(links, page));
///         }
///     }
///     Ok(pages)
/// }
/// ```
pub struct Steps<'a, T> {
    futures: BTreeMap<u64, Pin<Box<dyn Future<Output = T> + 'a>>>,
    ready: Arc<Ready>,
    pushed: u64,
}

/// Which futures were woken, and who waits for any of them.
struct Ready(Mutex<Woken>);

#[derive(Default)]
struct Woken {
    keys: VecDeque<u64>,
    waker: Option<Waker>,
}

struct Child {
    key: u64,
    ready: Arc<Ready>,
}

impl Wake for Child {
    fn wake(self: Arc<Self>) {
        let waker = {
            let mut woken = self.ready.lock();
            woken.keys.push_back(self.key);
            woken.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Ready {
    fn lock(&self) -> std::sync::MutexGuard<'_, Woken> {
        // A queue of numbers is whole whatever happened to its last user.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<'a, T> Steps<'a, T> {
    /// An empty set.
    pub fn new() -> Steps<'a, T> {
        Steps { futures: BTreeMap::new(), ready: Arc::new(Ready(Mutex::default())), pushed: 0 }
    }

    /// Adds one; it starts with the next [`next`](Steps::next).
    pub fn push(&mut self, future: impl IntoFuture<Output = T, IntoFuture: 'a>) {
        let key = self.pushed;
        self.pushed += 1;
        self.futures.insert(key, Box::pin(future.into_future()));
        self.ready.lock().keys.push_back(key);
    }

    /// How many have not ended.
    pub fn len(&self) -> usize {
        self.futures.len()
    }

    /// Whether all have ended.
    pub fn is_empty(&self) -> bool {
        self.futures.is_empty()
    }

    /// Waits for the next output of any of them; none when all have ended.
    pub async fn next(&mut self) -> Option<T> {
        poll_fn(|context| self.poll_next(context)).await
    }

    pub(crate) fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<T>> {
        loop {
            let key = {
                let mut woken = self.ready.lock();
                let Some(key) = woken.keys.pop_front() else {
                    if self.futures.is_empty() {
                        return Poll::Ready(None);
                    }
                    woken.waker = Some(context.waker().clone());
                    return Poll::Pending;
                };
                key
            };
            // Woken more than once before it was polled, and ended by the first.
            let Some(future) = self.futures.get_mut(&key) else { continue };
            let waker = Waker::from(Arc::new(Child { key, ready: self.ready.clone() }));
            if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
                self.futures.remove(&key);
                return Poll::Ready(Some(output));
            }
        }
    }
}

impl<T> Default for Steps<'_, T> {
    fn default() -> Self {
        Steps::new()
    }
}

impl<T> fmt::Debug for Steps<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Steps").field("open", &self.len()).finish()
    }
}
