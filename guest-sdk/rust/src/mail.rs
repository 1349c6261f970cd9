//! Signals and updates that came and were not taken after all: what an operation had when it was dropped goes to the
//! next one that waits for it. It knows names and order, and never asks the host.

use std::collections::BTreeMap;

/// In front of the name of an update.
pub(crate) const UPDATE: &str = "update ";

/// What the open operations of one instance wait for, and what was given back.
#[derive(Default)]
pub(crate) struct Mail {
    wanted: BTreeMap<u32, String>,
    /// By name, then in the order in which the host delivered them.
    returned: BTreeMap<String, BTreeMap<u64, String>>,
    delivered: BTreeMap<u32, (u64, String)>,
    deliveries: u64,
    /// Which id the host gave each one to.
    takers: BTreeMap<u64, u32>,
}

impl Mail {
    pub(crate) fn opened(&mut self, id: u32, name: String) {
        self.wanted.insert(id, name);
    }

    /// The body as it is kept: that of an update goes with the id that took it at the host, to whoever has it in
    /// the end.
    pub(crate) fn kept(&self, id: u32, body: String) -> String {
        match self.wanted.get(&id) {
            Some(name) if name.starts_with(UPDATE) => format!("{id} {body}"),
            Some(_) | None => body,
        }
    }

    /// The host has answered `id`, which keeps what it got until somebody looks at it.
    pub(crate) fn answered(&mut self, id: u32) {
        if let Some(name) = self.wanted.remove(&id) {
            self.deliveries += 1;
            self.takers.insert(self.deliveries, id);
            self.delivered.insert(id, (self.deliveries, name));
        }
    }

    /// Somebody has looked at it.
    pub(crate) fn taken(&mut self, id: u32) {
        self.delivered.remove(&id);
    }

    /// Nobody waits for `id` any more. `body` is what it had got, if it had: that is given back.
    pub(crate) fn dropped(&mut self, id: u32, body: Option<String>) -> Option<Returned> {
        self.wanted.remove(&id);
        let (place, name) = self.delivered.remove(&id)?;
        Some(Returned { name, place, body: body? })
    }

    /// Who has the next signal of that name, and has not looked at it: it is to have this one instead, so
    /// that order is kept. Its own is the one to give back then.
    pub(crate) fn pass_on(&mut self, returned: &mut Returned) -> Option<u32> {
        let later =
            self.delivered.iter_mut().filter(|(_, (place, name))| *name == returned.name && *place > returned.place);
        let (id, (place, _)) = later.min_by_key(|(_, (place, _))| *place)?;
        std::mem::swap(place, &mut returned.place);
        Some(*id)
    }

    pub(crate) fn give_back(&mut self, returned: Returned) {
        let Returned { name, place, body } = returned;
        self.returned.entry(name).or_default().insert(place, body);
    }

    /// The ids to which the host gave what nobody has used.
    pub(crate) fn unused(&self) -> Vec<u32> {
        let returned = self.returned.values().flat_map(BTreeMap::keys);
        let places = returned.chain(self.delivered.values().map(|(place, _)| place));
        places.filter_map(|place| self.takers.get(place).copied()).collect()
    }

    /// An open operation for which something was given back, and what.
    pub(crate) fn next_returned(&mut self) -> Option<(u32, Returned)> {
        let returned = &self.returned;
        let (id, name) = self.wanted.iter().find(|(_, name)| returned.contains_key(*name))?;
        let (id, name) = (*id, name.clone());
        Some((id, self.take_returned(&name)?))
    }

    /// The earliest that was given back under that name.
    pub(crate) fn take_returned(&mut self, name: &str) -> Option<Returned> {
        let returned = self.returned.get_mut(name)?;
        let (place, body) = returned.pop_first()?;
        if returned.is_empty() {
            self.returned.remove(name);
        }
        Some(Returned { name: name.to_owned(), place, body })
    }

    /// The operation has what another one gave back.
    pub(crate) fn answered_with(&mut self, id: u32, returned: &Returned) {
        self.wanted.remove(&id);
        self.delivered.insert(id, (returned.place, returned.name.clone()));
    }
}

/// A signal that was given back.
pub(crate) struct Returned {
    pub name: String,
    /// In the order in which the host delivered them.
    place: u64,
    pub body: String,
}
