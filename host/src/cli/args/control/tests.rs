use clap::Parser as _;

use crate::cli::args::Cli;

/// Whether it can be typed; if not, what is said.
fn typed(line: &str) -> Result<(), String> {
    Cli::try_parse_from(line.split_whitespace()).map(drop).map_err(|error| error.to_string())
}

#[test]
fn a_filter_is_for_all_runs_and_never_for_one_that_is_named() {
    for filter in [
        "--workflow w",
        "--deployment d",
        "--status failed",
        "--code TIMEOUT",
        "--since 2h",
        "--until 2h",
        "--min-cost 1",
    ] {
        for word in ["cancel", "terminate", "pause", "resume", "rm", "restart", "move --to d"] {
            assert_eq!(typed(&format!("trackway runs {word} --all {filter}")), Ok(()), "{word}");
            let both = typed(&format!("trackway runs {word} 01k9 {filter}")).expect_err("a run and a filter");
            assert!(both.contains("cannot be used with"), "{both}");
            let neither = typed(&format!("trackway runs {word} {filter}")).expect_err("neither a run nor all of them");
            assert!(neither.contains("RUN"), "{neither}");
        }
        assert_eq!(typed(&format!("trackway runs ls {filter}")), Ok(()));
    }
    assert_eq!(typed("trackway runs cancel 01k9 --dry-run"), Ok(()));
    assert!(typed("trackway runs cancel 01k9 --all").is_err());
}
