//! What tenants use: sums by the day and in all, each a record that grows with the frames which used it. It adds numbers
//! and knows nothing of what they count.

use bytes::Bytes;
use std::sync::Arc;
use trackway_replay::{Day, Used};

use crate::Record;

/// In all, over all days. Before the first day in the order of names.
pub const USAGE_TOTAL: &str = "#total";
/// A sum grows all the time: its revision says nothing, and a backup writes it once.
const REVISION: u64 = 1;

/// What a frame used that no frame before it brought along, by the day; see [`crate::Rows::used`].
pub type UsedByDay = Vec<(Day, Used)>;

/// Of its record, so that names stand in the order of days.
pub fn usage_name(day: Day) -> Arc<str> {
    format!("{:010}", day.0).into()
}

/// `None`: it is the sum of all days.
pub fn usage_day(name: &str) -> Option<Day> {
    name.parse().ok().map(Day)
}

pub(crate) fn usage_record(name: Arc<str>, used: &Used) -> Record {
    Record { name, revision: REVISION, body: Bytes::from(used.encode()) }
}

/// The sums that grow, and by how much.
pub(crate) fn additions(used: &[(Day, Used)]) -> Vec<(Arc<str>, Used)> {
    let mut total = Used::default();
    let mut sums: Vec<(Arc<str>, Used)> = Vec::new();
    for (day, used) in used.iter().filter(|(_, used)| !used.is_nothing()) {
        total.add(used);
        let name = usage_name(*day);
        match sums.iter_mut().find(|(of, _)| *of == name) {
            Some((_, sum)) => sum.add(used),
            None => sums.push((name, *used)),
        }
    }
    if !sums.is_empty() {
        sums.push((USAGE_TOTAL.into(), total));
    }
    sums
}
