//! What was measured: medians over the rounds, printed side by side, and written as JSON. It judges
//! nothing but what it was told a target of.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};

use super::system::System;
use crate::process::flush;

/// Beside whose figures the others stand, and whose targets there are.
const OWN: &str = "trackway";

#[derive(Default)]
pub struct Rows {
    /// Of a figure and a system, one value for each round.
    values: BTreeMap<(Figure, String), Vec<f64>>,
    /// In the order in which they came.
    figures: Vec<Figure>,
    /// Of a work and a metric, what Trackway's figure is to be at most.
    targets: BTreeMap<(String, String), f64>,
    left_out: Vec<(System, String)>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Figure {
    work: String,
    metric: String,
    unit: String,
}

impl Rows {
    /// Runs a program that prints rows, and shows them as they come.
    pub fn take(&mut self, program: &mut Command) -> Result<()> {
        let output = program.stdout(Stdio::piped()).output().context("cannot start trackway-bench")?;
        for line in String::from_utf8_lossy(&output.stdout).lines() {
            let row: Value = serde_json::from_str(line).with_context(|| format!("`{line}` is no row"))?;
            let text = |name: &str| row[name].as_str().map(str::to_owned).with_context(|| format!("{name} in {row}"));
            let value = row["value"].as_f64().with_context(|| format!("value in {row}"))?;
            self.put(&text("work")?, &text("system")?, &text("metric")?, value, &text("unit")?);
        }
        let error = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "the measurement ended with {}: {}", output.status, error.trim_end());
        Ok(())
    }

    pub fn put(&mut self, work: &str, system: &str, metric: &str, value: f64, unit: &str) {
        println!("    {work:<16} {system:<12} {metric:<24} {} {unit}", number(value));
        flush();
        let figure = Figure { work: work.to_owned(), metric: metric.to_owned(), unit: unit.to_owned() };
        if !self.figures.contains(&figure) {
            self.figures.push(figure.clone());
        }
        self.values.entry((figure, system.to_owned())).or_default().push(value);
    }

    pub fn leave_out(&mut self, system: System, why: &str) {
        println!("\n!!! {} IS NOT MEASURED: {why}", system.name().to_uppercase());
        flush();
        self.left_out.push((system, why.to_owned()));
    }

    /// The table will say where Trackway's figure is above `most`.
    pub fn aim(&mut self, work: &str, metric: &str, most: f64) {
        self.targets.insert((work.to_owned(), metric.to_owned()), most);
    }

    /// A row for each figure and system.
    pub fn medians(&self) -> Vec<Value> {
        let mut rows = Vec::new();
        for figure in &self.figures {
            for ((_, system), values) in self.values.iter().filter(|((of, _), _)| of == figure) {
                let Figure { work, metric, unit } = figure;
                let value = median(values);
                rows.push(json!({ "work": work, "system": system, "metric": metric, "value": value, "unit": unit }));
            }
        }
        rows
    }

    pub fn write(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(&self.medians())? + "\n";
        std::fs::write(path, text).with_context(|| path.display().to_string())
    }

    /// Medians, and behind those of the others how many times Trackway's they are.
    pub fn print(&self) {
        let mut systems: Vec<&str> = Vec::new();
        for (_, system) in self.values.keys() {
            if !systems.contains(&system.as_str()) {
                systems.push(system);
            }
        }
        systems.sort_by_key(|system| *system != OWN);
        println!("\nmedians; in brackets: so many times the figure of {OWN}, or a target that it misses\n");
        let mut table = vec![vec!["work".to_owned(), "metric".to_owned(), "unit".to_owned()]];
        table[0].extend(systems.iter().map(|system| (*system).to_owned()));
        for figure in &self.figures {
            let value = |system: &str| self.values.get(&(figure.clone(), system.to_owned())).map(|all| median(all));
            let own = value(OWN);
            let most = self.targets.get(&(figure.work.clone(), figure.metric.clone())).copied();
            let mut line = vec![figure.work.clone(), figure.metric.clone(), figure.unit.clone()];
            line.extend(systems.iter().map(|system| match value(system) {
                None => String::new(),
                Some(value) if *system == OWN => own_cell(value, most),
                Some(value) => cell(value, own),
            }));
            table.push(line);
        }
        print_aligned(&table);
        for (system, why) in &self.left_out {
            println!("\n!!! {} was not measured: {why}", system.name());
        }
        flush();
    }
}

fn cell(value: f64, own: Option<f64>) -> String {
    match own.filter(|own| *own > 0.0) {
        Some(own) => format!("{} ({:.2})", number(value), value / own),
        None => number(value),
    }
}

fn own_cell(value: f64, most: Option<f64>) -> String {
    match most.filter(|most| value > *most) {
        Some(most) => format!("{} (missed: {most} at most)", number(value)),
        None => number(value),
    }
}

fn print_aligned(table: &[Vec<String>]) {
    let columns = table.first().map_or(0, Vec::len);
    let width = |column: usize| table.iter().map(|line| line[column].len()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    for line in table {
        let cells = line.iter().zip(&widths).enumerate();
        let cells = cells.map(|(place, (cell, width))| match place {
            0..3 => format!("{cell:<width$}"),
            _ => format!("{cell:>width$}"),
        });
        println!("{}", cells.collect::<Vec<_>>().join("  ").trim_end());
    }
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => f64::NAN,
        odd if odd % 2 == 1 => sorted[middle],
        _ => f64::midpoint(sorted[middle - 1], sorted[middle]),
    }
}

/// With about three digits that say something.
fn number(value: f64) -> String {
    match value.abs() {
        small if small < 10.0 => format!("{value:.3}"),
        medium if medium < 1_000.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

/// Cores, memory and kernel, as far as they are told.
pub fn machine() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let field = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    };
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let cpu = field(&read("/proc/cpuinfo"), "model name").unwrap_or_default();
    let memory = field(&read("/proc/meminfo"), "MemTotal").unwrap_or_default();
    let load = read("/proc/loadavg");
    let load = load.split(' ').next().unwrap_or_default();
    format!("{cores} cores ({cpu}), {memory} of memory, load average {load}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_above_its_target_is_told_of_and_no_other_is() {
        assert_eq!(own_cell(3.5, Some(3.0)), "3.500 (missed: 3 at most)");
        assert_eq!(own_cell(3.0, Some(3.0)), "3.000");
        assert_eq!(own_cell(3.5, None), "3.500");
    }

    #[test]
    fn figures_of_others_stand_beside_trackways() {
        assert_eq!(cell(9.0, Some(3.0)), "9.000 (3.00)");
        assert_eq!(cell(9.0, Some(0.0)), "9.000");
        assert_eq!(cell(9.0, None), "9.000");
    }
}
