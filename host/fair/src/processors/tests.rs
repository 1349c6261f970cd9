use super::Processors;
use crate::{Weight, Weights};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::{Duration, Instant};
use tokio::runtime::{Builder, Runtime};
use trackway_replay::TenantId;

fn threads(threads: usize) -> Runtime {
    Builder::new_multi_thread().worker_threads(threads).build().expect("threads")
}

/// Ready again at once, so many times; each time it computes for so long.
fn busy(times: usize, each: Duration, mut did: impl FnMut() + Send + 'static) -> BoxFuture<'static, ()> {
    let mut left = times;
    std::future::poll_fn(move |cx| {
        let begun = Instant::now();
        while begun.elapsed() < each {
            std::hint::spin_loop();
        }
        did();
        left -= 1;
        if left == 0 {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .boxed()
}

fn bump(count: &AtomicUsize) {
    count.fetch_add(1, Ordering::SeqCst);
}

fn join(runtime: &Runtime, tasks: Vec<tokio::task::JoinHandle<()>>) {
    runtime.block_on(async {
        for task in tasks {
            task.await.expect("it ends");
        }
    });
}

#[test]
fn a_tenant_with_one_task_computes_as_often_as_one_with_many() {
    let runtime = threads(1);
    let processors = Processors::new(1, Weights::default());
    let (flood, ends) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(Vec::new())));
    let mut tasks = Vec::new();
    for _ in 0..200 {
        let flood = Arc::clone(&flood);
        let task = busy(20, Duration::from_micros(100), move || bump(&flood));
        tasks.push(runtime.spawn(processors.share(TenantId(1), task)));
    }
    for _ in 0..2 {
        let (flood, ends) = (Arc::clone(&flood), Arc::clone(&ends));
        let task = busy(50, Duration::from_micros(100), || {});
        let task = processors.share(TenantId(2), task);
        tasks.push(runtime.spawn(async move {
            task.await;
            ends.lock().unwrap_or_else(PoisonError::into_inner).push(flood.load(Ordering::SeqCst));
        }));
    }
    join(&runtime, tasks);
    assert_eq!(flood.load(Ordering::SeqCst), 200 * 20);
    let ends = ends.lock().unwrap_or_else(PoisonError::into_inner).clone();
    // 100 moments of its own, as many of the other tenant, and what that had before both were about.
    assert!(ends.iter().all(|others| *others < 1_000), "ended after {ends:?} moments of the other tenant");
}

#[test]
fn three_times_the_weight_is_three_times_the_time() {
    let runtime = threads(1);
    let weights = Weights::default();
    weights.set(TenantId(2), Weight::new(300));
    let processors = Processors::new(1, weights);
    let of_other = Arc::new(AtomicUsize::new(0));
    let mut tasks: Vec<_> = (0..10)
        .map(|_| {
            let of_other = Arc::clone(&of_other);
            let task = busy(200, Duration::from_micros(200), move || bump(&of_other));
            runtime.spawn(processors.share(TenantId(1), task))
        })
        .collect();
    let (left, had) = (Arc::new(AtomicUsize::new(900)), Arc::new(AtomicUsize::new(0)));
    tasks.extend((0..10).map(|_| {
        let (left, had, of_other) = (Arc::clone(&left), Arc::clone(&had), Arc::clone(&of_other));
        let task = busy(90, Duration::from_micros(200), move || {
            if left.fetch_sub(1, Ordering::SeqCst) == 1 {
                had.store(of_other.load(Ordering::SeqCst), Ordering::SeqCst);
            }
        });
        runtime.spawn(processors.share(TenantId(2), task))
    }));
    join(&runtime, tasks);
    let had = had.load(Ordering::SeqCst);
    // 300 for the 900 of the other one; a moment is longer where something else takes the processor.
    assert!((150..=600).contains(&had), "{had} moments beside 900 of three times the weight");
}

#[test]
fn tasks_that_are_dropped_leave_their_turn_to_others() {
    let runtime = threads(2);
    let processors = Processors::new(2, Weights::default());
    for round in 0..200 {
        let mut tasks = Vec::new();
        for tenant in 1..=3 {
            for _ in 0..10 {
                let task = busy(10_000, Duration::from_micros(1), || {});
                tasks.push(runtime.spawn(processors.share(TenantId(tenant), task)));
            }
        }
        if round % 2 == 0 {
            std::thread::yield_now();
        }
        tasks.iter().for_each(|task| task.abort());
        runtime.block_on(async {
            for task in tasks {
                // Aborted, or done before.
                drop(task.await);
            }
        });
    }
    let state = processors.lock();
    assert_eq!((state.going, state.of.held(TenantId(1))), (0, 0));
    drop(state);
    let after = runtime.spawn(processors.share(TenantId(1), busy(3, Duration::ZERO, || {})));
    join(&runtime, vec![after]);
}

#[test]
fn a_task_that_panics_leaves_its_turn_to_others() {
    let runtime = threads(1);
    let processors = Processors::new(1, Weights::default());
    let tasks: Vec<_> = (1..=2)
        .flat_map(|tenant| (0..5).map(move |nth| (tenant, nth)))
        .map(|(tenant, nth)| {
            let task = busy(20, Duration::from_micros(10), move || assert!(nth != 3, "on purpose"));
            runtime.spawn(processors.share(TenantId(tenant), task))
        })
        .collect();
    let panicked = runtime.block_on(async {
        let mut panicked = 0;
        for task in tasks {
            panicked += usize::from(task.await.is_err());
        }
        panicked
    });
    assert_eq!(panicked, 2);
    assert_eq!(processors.lock().going, 0);
}

#[test]
fn a_tenant_alone_has_every_thread_and_pays_for_no_turns() {
    let runtime = threads(2);
    let processors = Processors::new(2, Weights::default());
    let tasks = (0..50)
        .map(|_| runtime.spawn(processors.share(TenantId(1), busy(20, Duration::from_micros(10), || {}))))
        .collect();
    join(&runtime, tasks);
    let state = processors.lock();
    assert!(state.met.is_none() && state.ready.is_empty());
}

#[test]
fn whoever_comes_to_one_that_was_alone_is_served_at_once() {
    let runtime = threads(1);
    let processors = Processors::new(1, Weights::default());
    let flood = Arc::new(AtomicUsize::new(0));
    let (told, came) = std::sync::mpsc::channel();
    let mut tasks = Vec::new();
    for _ in 0..200 {
        let (counted, told) = (Arc::clone(&flood), told.clone());
        let (handle, other) = (runtime.handle().clone(), Arc::clone(&processors));
        let task = busy(20, Duration::from_micros(100), move || {
            if counted.fetch_add(1, Ordering::SeqCst) == 1_000 {
                let counted = Arc::clone(&counted);
                let (task, told) = (other.share(TenantId(2), busy(5, Duration::ZERO, || {})), told.clone());
                drop(handle.spawn(async move {
                    task.await;
                    told.send(counted.load(Ordering::SeqCst)).expect("somebody listens");
                }));
            }
        });
        tasks.push(runtime.spawn(processors.share(TenantId(1), task)));
    }
    join(&runtime, tasks);
    let after = came.recv_timeout(Duration::from_secs(10)).expect("it ended");
    assert!(after < 1_050, "{} moments of the other tenant before five", after - 1_000);
}

#[test]
fn whoever_holds_what_others_wait_for_waits_for_no_turn() {
    let runtime = threads(1);
    let processors = Processors::new(1, Weights::default());
    let flood = Arc::new(AtomicUsize::new(0));
    let meanwhile: Vec<usize> = [true, false]
        .map(|says_so| {
            let mut tasks = Vec::new();
            for tenant in 1..=2 {
                for _ in 0..100 {
                    let flood = Arc::clone(&flood);
                    let task = busy(40, Duration::from_micros(20), move || bump(&flood));
                    tasks.push(runtime.spawn(processors.share(TenantId(tenant), task)));
                }
            }
            let seen = Arc::clone(&flood);
            let holder = processors.share(
                TenantId(1),
                Box::pin(async move {
                    busy(2, Duration::ZERO, || {}).await;
                    let _at_once = says_so.then(super::at_once);
                    let before = seen.load(Ordering::SeqCst);
                    busy(11, Duration::ZERO, || {}).await;
                    seen.load(Ordering::SeqCst) - before
                }),
            );
            let holder = runtime.spawn(holder);
            join(&runtime, tasks);
            runtime.block_on(holder).expect("it ends")
        })
        .to_vec();
    assert!(meanwhile[0] < 100 && meanwhile[1] > 500, "{meanwhile:?} moments of others");
    let after = processors.share(TenantId(1), Box::pin(async { super::POLLS.with_borrow(Option::is_some) }));
    assert!(runtime.block_on(runtime.spawn(after)).expect("it ends"));
    assert!(super::POLLS.with_borrow(Option::is_none) && super::at_once().0.is_none());
}
