//! The binary: hands over to the command line, or to the compiler, the check or the tries that it is a
//! process for. It decides nothing.

use std::process::ExitCode;
use trackway::confine::{PROBE_ARGUMENT, probe_child_main};
use trackway::host::{CHECK_ARGUMENT, check_child_main};
use trackway::sandbox::{COMPILE_ARGUMENT, compile_child_main};

/// Every run and every request allocates on one thread and frees on another, which the allocator of the C
/// library is slow at.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // Before anything else is set up: what compiles what strangers wrote gets nothing but its input.
    if std::env::args_os().nth(1).is_some_and(|first| first == COMPILE_ARGUMENT) {
        return compile_child_main();
    }
    if std::env::args_os().nth(1).is_some_and(|first| first == CHECK_ARGUMENT) {
        return check_child_main();
    }
    if std::env::args_os().nth(1).is_some_and(|first| first == PROBE_ARGUMENT) {
        return probe_child_main();
    }
    std::panic::set_hook(Box::new(report_bug));
    trackway::cli::main()
}

/// A panic is a bug of ours: it is said in words, with the place. The backtrace is for who asks.
fn report_bug(panic: &std::panic::PanicHookInfo<'_>) {
    let message = panic.payload_as_str().unwrap_or("no message");
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    let backtrace = std::backtrace::Backtrace::capture();
    let more = match backtrace.status() {
        std::backtrace::BacktraceStatus::Captured => format!("\n{backtrace}"),
        _ => "\n  With RUST_BACKTRACE=1 it says more.".to_owned(),
    };
    use std::io::Write as _;
    // Where stderr is gone there is nobody to tell.
    let _ = writeln!(
        std::io::stderr().lock(),
        "error: internal error [TW0001]\n  This is a bug in Trackway {}, please report it: {message} ({place}){more}",
        env!("CARGO_PKG_VERSION"),
    );
}
