//! A sign of life while something takes long: a line that turns on a terminal, plain lines elsewhere.

use indicatif::{ProgressBar, ProgressStyle};
use std::time::Duration;

use super::output::Output;

/// Often enough to look alive.
const TICK: Duration = Duration::from_millis(120);

pub struct Progress {
    bar: Option<ProgressBar>,
    output: Output,
}

impl Progress {
    pub fn start(output: &Output) -> Progress {
        let bar = output.talk_is_terminal.then(|| {
            let bar = ProgressBar::new_spinner();
            if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} {elapsed}") {
                bar.set_style(style);
            }
            bar
        });
        Progress { bar, output: *output }
    }

    pub fn say(&self, text: &str) {
        match &self.bar {
            Some(bar) => {
                bar.set_message(text.to_owned());
                bar.enable_steady_tick(TICK);
            }
            None => self.output.say(text),
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
