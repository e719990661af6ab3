//! A simulated disk: it loses what was not synced, tears writes, fails calls, and can crash between any two.
//!
//! All chance comes from one seed, so a run can be repeated. **Invariant:** what a real disk promises is kept (a
//! sync that returned lasts, unless the world is told to lie); everything else is broken whenever chance says so.

mod faults;
mod file;
mod random;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tidings_log::{Disk, DiskFile, LockError};

pub use faults::{Call, Fault, Lie};
pub use random::Random;

use faults::Faults;
use file::Inode;

/// A disk in memory. Clones are the same disk.
#[derive(Clone)]
pub struct SimDisk {
    world: Arc<Mutex<World>>,
    /// Handles of an earlier life of the machine do nothing.
    life: u64,
    between: Arc<Mutex<Option<Between>>>,
}

/// What is done before a call.
pub type Between = Box<dyn FnMut() + Send>;

struct World {
    random: Random,
    faults: Faults,
    life: u64,
    is_locked: bool,
    inodes: BTreeMap<u64, Inode>,
    next_inode: u64,
    /// Names as a process sees them.
    names: Names,
    /// Names as they would be found after a loss of power.
    durable_names: Names,
    /// Changes of names since the last sync of the directory, in order.
    unsynced_names: Vec<NameChange>,
}

type Names = BTreeMap<Arc<str>, u64>;

#[derive(Clone)]
enum NameChange {
    Set(Arc<str>, u64),
    Remove(Arc<str>),
}

impl SimDisk {
    /// An empty disk.
    pub fn seeded(seed: u64) -> Self {
        let world = World {
            random: Random::seeded(seed),
            faults: Faults::default(),
            life: 0,
            is_locked: false,
            inodes: BTreeMap::new(),
            next_inode: 1,
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            unsynced_names: Vec::new(),
        };
        Self { world: Arc::new(Mutex::new(world)), life: 0, between: Arc::default() }
    }

    /// Has something done before each call that can fail, in all lives: what another thread might do just then. Not while
    /// it is done itself.
    pub fn between(&self, what: Option<Between>) {
        let mut between = self.between.lock().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::replace(&mut *between, what);
        drop(between);
        drop(before);
    }

    fn pause(&self) {
        let take = || self.between.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(mut what) = take() {
            what();
            self.between(Some(what));
        }
    }

    fn world(&self) -> MutexGuard<'_, World> {
        // A test that panicked elsewhere has failed already.
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many calls were made, of those that faults count (all that change or sync something).
    pub fn calls(&self) -> u64 {
        self.world().faults.calls
    }

    /// Power goes at the `calls`-th call from now on: that one is done in part or not at all, all later ones fail,
    /// until [`SimDisk::power_on`].
    pub fn lose_power_in(&self, calls: u64) {
        let mut world = self.world();
        world.faults.power_fails_at = Some(world.faults.calls + calls);
    }

    /// Power goes at a call of this kind, after `after` of them, in the same way.
    pub fn lose_power_on(&self, call: Call, after: u64) {
        self.world().faults.power_fails_on = Some((call, after));
    }

    /// Whether power is gone.
    pub fn is_dark(&self) -> bool {
        self.world().faults.is_dark
    }

    /// Power goes now.
    pub fn lose_power(&self) {
        self.world().faults.is_dark = true;
    }

    /// The machine is back: the disk as it would be found, with what was not synced lost by chance. Handles from
    /// before do nothing any more.
    #[must_use]
    pub fn power_on(&self) -> Self {
        let mut world = self.world();
        world.lose_unsynced();
        world.begin_life();
        self.with_life(world.life)
    }

    fn with_life(&self, life: u64) -> Self {
        Self { world: Arc::clone(&self.world), life, between: Arc::clone(&self.between) }
    }

    /// The process was killed and the machine runs on: nothing is lost, and nothing was synced either.
    #[must_use]
    pub fn kill(&self) -> Self {
        let mut world = self.world();
        world.begin_life();
        self.with_life(world.life)
    }

    /// Fails a call that is to come.
    pub fn fail(&self, fault: Fault) {
        self.world().faults.scheduled.push(fault);
    }

    /// How many calls have failed because they were told to, in all lives.
    pub fn struck(&self) -> u64 {
        self.world().faults.struck
    }

    /// How many bytes all files together may have; `None`: no limit.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.world().faults.capacity_bytes = bytes;
    }

    /// Makes the disk break a promise. For tests of tests: they must notice.
    pub fn lie(&self, lie: Lie) {
        self.world().faults.lies.push(lie);
    }

    /// All bytes of all files together, as a process sees them.
    pub fn bytes(&self) -> u64 {
        self.world().used()
    }

    /// The names that a process sees.
    pub fn names(&self) -> Vec<String> {
        self.world().names.keys().map(ToString::to_string).collect()
    }

    /// A file's content, as a process sees it.
    pub fn content(&self, name: &str) -> Option<Vec<u8>> {
        let world = self.world();
        let inode = world.names.get(name)?;
        Some(world.inodes.get(inode)?.view.clone())
    }

    /// Puts a file there, durably, behind everybody's back.
    pub fn put(&self, name: &str, content: &[u8]) {
        let mut world = self.world();
        let inode = world.new_inode(Inode::durable(content));
        world.names.insert(name.into(), inode);
        world.durable_names.insert(name.into(), inode);
    }

    /// Removes a file, durably, behind everybody's back.
    pub fn remove(&self, name: &str) {
        let mut world = self.world();
        world.names.remove(name);
        world.durable_names.remove(name);
    }

    /// Another disk with the same files, all durable, and a chance of its own.
    #[must_use]
    pub fn copy(&self, seed: u64) -> Self {
        let copy = Self::seeded(seed);
        for name in self.names() {
            copy.put(&name, &self.content(&name).unwrap_or_default());
        }
        copy
    }
}

impl World {
    fn begin_life(&mut self) {
        self.life += 1;
        self.is_locked = false;
        self.faults.begin_life();
    }

    fn new_inode(&mut self, inode: Inode) -> u64 {
        let number = self.next_inode;
        self.next_inode += 1;
        self.inodes.insert(number, inode);
        number
    }

    fn used(&self) -> u64 {
        self.names.values().filter_map(|inode| self.inodes.get(inode)).map(|i| i.view.len() as u64).sum()
    }

    fn set_name(&mut self, name: &str, inode: u64) {
        let name: Arc<str> = name.into();
        self.names.insert(Arc::clone(&name), inode);
        self.unsynced_names.push(NameChange::Set(name, inode));
    }

    fn remove_name(&mut self, name: &str) -> io::Result<()> {
        let (name, _) = self.names.remove_entry(name).ok_or_else(not_found)?;
        self.unsynced_names.push(NameChange::Remove(name));
        Ok(())
    }

    fn keep_name(&mut self, change: NameChange) {
        match change {
            NameChange::Set(name, inode) => {
                // A renamed file is not at both names.
                self.durable_names.retain(|_, other| *other != inode);
                self.durable_names.insert(name, inode);
            }
            NameChange::Remove(name) => _ = self.durable_names.remove(&name),
        }
    }

    /// What a loss of power leaves: some of the unsynced names, some of the unsynced bytes, independently.
    fn lose_unsynced(&mut self) {
        let mood = self.random.below(3);
        for change in std::mem::take(&mut self.unsynced_names) {
            // Sometimes all is lost, sometimes nothing, mostly each by its own chance.
            let is_kept = match mood {
                0 => false,
                1 => true,
                _ => self.random.below(2) == 0,
            };
            if is_kept {
                self.keep_name(change);
            }
        }
        self.names.clone_from(&self.durable_names);
        for inode in self.inodes.values_mut() {
            inode.lose_unsynced(&mut self.random);
        }
        let Self { names, inodes, .. } = self;
        inodes.retain(|number, _| names.values().any(|named| named == number));
    }
}

impl SimDisk {
    /// The world, for a call that changes something; or why the call fails.
    fn call(&self, kind: Call) -> io::Result<MutexGuard<'_, World>> {
        self.pause();
        let mut world = self.world();
        if world.life != self.life {
            return Err(io::Error::other("this machine has lost power"));
        }
        let World { faults, random, .. } = &mut *world;
        faults.count(kind, random)?;
        Ok(world)
    }

    /// The world, for a change of names; or how it fails. One that fails for no stated reason, or meets the loss
    /// of power, may be done all the same.
    fn rename_call(
        &self,
        kind: Call,
        change: impl FnOnce(&mut World) -> io::Result<()>,
    ) -> io::Result<MutexGuard<'_, World>> {
        let error = match self.call(kind) {
            Ok(mut world) => {
                change(&mut world)?;
                return Ok(world);
            }
            Err(error) => error,
        };
        let mut world = self.world();
        let is_here = world.life == self.life;
        let is_met = if world.faults.is_dark { world.faults.met_dark_now() } else { true };
        if is_here && is_met && error.kind() == io::ErrorKind::Other && world.random.once_in(2) {
            drop(change(&mut world));
        }
        Err(error)
    }

    fn look(&self) -> io::Result<MutexGuard<'_, World>> {
        let world = self.world();
        if world.life != self.life || world.faults.is_dark {
            return Err(io::Error::other("this machine has lost power"));
        }
        Ok(world)
    }

    /// The world, for a call that changes nothing; or why the call fails.
    fn ask(&self, kind: Call) -> io::Result<MutexGuard<'_, World>> {
        self.pause();
        let mut world = self.look()?;
        world.faults.strike(kind)?;
        Ok(world)
    }
}

fn is_full(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::StorageFull
}

fn not_found() -> io::Error {
    io::ErrorKind::NotFound.into()
}

impl Disk for SimDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.look()?.names.keys().map(ToString::to_string).collect())
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let world = self.ask(Call::Open)?;
        let inode = *world.names.get(name).ok_or_else(not_found)?;
        Ok(Arc::new(SimFile { disk: self.clone(), inode }))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let mut inode = 0;
        let world = self.rename_call(Call::Create, |world| {
            inode = match world.names.get(name).copied() {
                Some(there) => there,
                None => {
                    let new = world.new_inode(Inode::default());
                    world.set_name(name, new);
                    new
                }
            };
            if let Some(file) = world.inodes.get_mut(&inode) {
                file.truncate(0);
            }
            Ok(())
        })?;
        drop(world);
        Ok(Arc::new(SimFile { disk: self.clone(), inode }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let renamed = self.rename_call(Call::Rename, |world| {
            let inode = world.names.remove(from).ok_or_else(not_found)?;
            world.set_name(to, inode);
            Ok(())
        });
        renamed.map(drop)
    }

    fn unlink(&self, name: &str) -> io::Result<()> {
        self.rename_call(Call::Unlink, |world| world.remove_name(name)).map(drop)
    }

    fn sync_dir(&self) -> io::Result<()> {
        let error = match self.call(Call::SyncDir) {
            Ok(mut world) => {
                if !world.faults.lies.contains(&Lie::SyncDir) {
                    for change in std::mem::take(&mut world.unsynced_names) {
                        world.keep_name(change);
                    }
                }
                return Ok(());
            }
            Err(error) => error,
        };
        let mut world = self.world();
        if world.life == self.life && !world.faults.is_dark {
            // The first of them may last; the others still wait for a sync, as a journal has it.
            let count = world.unsynced_names.len();
            let kept = world.random.up_to(count);
            let waiting = world.unsynced_names.split_off(kept);
            for change in std::mem::replace(&mut world.unsynced_names, waiting) {
                world.keep_name(change);
            }
        }
        Err(error)
    }

    fn lock(&self) -> Result<Box<dyn Send + Sync>, LockError> {
        let mut world = self.look().map_err(LockError::Io)?;
        if let Some(kind) = world.faults.lock_fails {
            return Err(LockError::Io(kind.into()));
        }
        if world.is_locked {
            return Err(LockError::Held { holder: Some("4711".into()) });
        }
        world.is_locked = true;
        Ok(Box::new(Guard(self.clone())))
    }

    fn place(&self, name: &str) -> String {
        format!("sim:{name}")
    }

    fn random(&self) -> io::Result<u64> {
        Ok(self.look()?.random.next())
    }
}

impl SimDisk {
    /// Lets every attempt to take the directory fail in this way.
    pub fn fail_lock(&self, kind: io::ErrorKind) {
        self.world().faults.lock_fails = Some(kind);
    }
}

struct Guard(SimDisk);

impl Drop for Guard {
    fn drop(&mut self) {
        let mut world = self.0.world();
        if world.life == self.0.life {
            world.is_locked = false;
        }
    }
}

struct SimFile {
    disk: SimDisk,
    inode: u64,
}

impl DiskFile for SimFile {
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        let world = self.disk.ask(Call::Read)?;
        let file = world.inodes.get(&self.inode).ok_or_else(not_found)?;
        Ok(file.read(offset, into))
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let counted = self.disk.call(Call::Write);
        let (mut world, result) = match counted {
            Ok(world) => (world, Ok(())),
            Err(error) => (self.disk.world(), Err(error)),
        };
        if world.life != self.disk.life {
            return result;
        }
        let room = world.faults.capacity_bytes.map_or(u64::MAX, |bytes| bytes.saturating_sub(world.used()));
        let World { inodes, faults, random, .. } = &mut *world;
        let file = inodes.get_mut(&self.inode).ok_or_else(not_found)?;
        let growth = (offset + bytes.len() as u64).saturating_sub(file.view.len() as u64);
        let (len, result) = match result {
            // A write that fails is done in part. In the dark nothing is done, except by the call that met it.
            Err(error) if faults.is_dark && !faults.met_dark_now() => return Err(error),
            // One that ran out of space lacks something at least.
            Err(error) if is_full(&error) => (random.up_to(bytes.len().saturating_sub(1)), Err(error)),
            Err(error) => (random.up_to(bytes.len()), Err(error)),
            Ok(()) if growth > room => {
                let fits = bytes.len().saturating_sub(usize::try_from(growth - room).unwrap_or(usize::MAX));
                (fits, Err(io::ErrorKind::StorageFull.into()))
            }
            Ok(()) => (bytes.len(), Ok(())),
        };
        file.write(offset, bytes.get(..len).unwrap_or(bytes));
        result
    }

    fn sync_data(&self) -> io::Result<()> {
        let counted = self.disk.call(Call::Sync);
        let (mut world, result) = match counted {
            Ok(world) => (world, Ok(())),
            Err(error) => (self.disk.world(), Err(error)),
        };
        if world.life != self.disk.life || world.faults.is_dark {
            return result;
        }
        let World { inodes, faults, random, .. } = &mut *world;
        let file = inodes.get_mut(&self.inode).ok_or_else(not_found)?;
        match result {
            Ok(()) if faults.lies.contains(&Lie::Sync) => Ok(()),
            Ok(()) => {
                file.sync();
                Ok(())
            }
            // As on Linux: what could not be written counts as clean from now on, and no later sync tells.
            Err(error) => {
                file.drop_unsynced(random);
                if faults.lies.contains(&Lie::SyncErrors) { Ok(()) } else { Err(error) }
            }
        }
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        let mut world = self.disk.call(Call::Truncate)?;
        if let Some(file) = world.inodes.get_mut(&self.inode) {
            file.truncate(usize::try_from(len).unwrap_or(usize::MAX));
        }
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        let world = self.disk.ask(Call::Read)?;
        world.inodes.get(&self.inode).map(|file| file.view.len() as u64).ok_or_else(not_found)
    }
}
