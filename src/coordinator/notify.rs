//! What the kernel tells of the watched folders: which names something happened to.
//!
//! One inotify instance. Many events of one name are one name.
//! Deliberately absent: what is under a name now. Events are hints, and older than what a look would find.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use inotify::{EventMask, Inotify, WatchDescriptor, WatchMask};
use nix::sys::statfs::statfs;

/// After so many names, the rest stays in the queue.
const NAMES_MAX: usize = 4096;
/// A read takes so much of the queue: thousands of events.
const BUFFER_BYTES: usize = 64 * 1024;
/// So many reads at most: a busy writer fills the queue as fast as it is read.
const READS_MAX: usize = 16;

/// Something in a watched folder.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Place {
    /// Which watched folder.
    pub folder: usize,
    /// Its name relative to it; a folder's ends with a slash, that of the watched folder itself is empty.
    pub relative: Vec<u8>,
}

/// What has happened.
#[derive(Default, Debug)]
pub struct Named {
    /// The names that something happened to, and whether a writer has closed it after that, if the events
    /// tell.
    pub names: BTreeMap<Place, Option<bool>>,
    /// Something happened to a watched folder itself.
    pub anew: bool,
    /// Events were lost.
    pub overflow: bool,
}

/// The watched folders, as the kernel knows them.
pub struct Notify {
    inotify: Inotify,
    /// The watches by the kernel's numbers. Two places are one watch if they are one folder, by a mount.
    watches: HashMap<i32, (WatchDescriptor, Vec<Place>)>,
    /// The number of each place's watch, and the round it was last asked for in.
    places: BTreeMap<Place, (i32, u64)>,
    round: u64,
    watches_max: usize,
    buffer: Vec<u8>,
}

impl Notify {
    /// A new instance, with no more watches than this.
    pub fn open(watches_max: usize) -> io::Result<Notify> {
        let inotify = Inotify::init()?;
        Ok(Notify {
            inotify,
            watches: HashMap::new(),
            places: BTreeMap::new(),
            round: 0,
            watches_max,
            buffer: vec![0; BUFFER_BYTES],
        })
    }

    /// Watches a folder from now on, or still.
    pub fn watch(&mut self, path: &Path, place: Place) -> io::Result<()> {
        let known = self.places.get(&place).map(|(number, _)| *number);
        if known.is_none() && self.watches.len() >= self.watches_max {
            return Err(io::Error::from_raw_os_error(libc::ENOSPC));
        }
        let mut mask = WatchMask::MODIFY
            | WatchMask::CLOSE_WRITE
            | WatchMask::MOVE
            | WatchMask::CREATE
            | WatchMask::DELETE
            | WatchMask::ATTRIB
            | WatchMask::DELETE_SELF
            | WatchMask::MOVE_SELF
            | WatchMask::ONLYDIR
            | WatchMask::EXCL_UNLINK;
        if !place.relative.is_empty() {
            mask |= WatchMask::DONT_FOLLOW;
        }
        let watch = self.inotify.watches().add(path, mask)?;
        let number = watch.get_watch_descriptor_id();
        // Another folder has the name now.
        if known.is_some_and(|known| known != number) {
            self.forget(&place);
        }
        let (_, places) = self.watches.entry(number).or_insert((watch, Vec::new()));
        if !places.contains(&place) {
            places.push(place.clone());
        }
        self.places.insert(place, (number, self.round));
        Ok(())
    }

    /// What is not watched again until [`Notify::end_round`] is forgotten then.
    pub fn begin_round(&mut self) {
        self.round += 1;
    }

    /// Forgets what was not watched since [`Notify::begin_round`].
    pub fn end_round(&mut self) {
        let old: Vec<Place> = self
            .places
            .iter()
            .filter(|(_, (_, round))| *round != self.round)
            .map(|(place, _)| place.clone())
            .collect();
        old.iter().for_each(|place| self.forget(place));
    }

    /// Forgets a subfolder and those in it.
    pub fn forget_under(&mut self, top: &Place) {
        let inside = |place: &Place| place.folder == top.folder && place.relative.starts_with(&top.relative);
        let old: Vec<Place> =
            self.places.range(top..).map(|(place, _)| place.clone()).take_while(inside).collect();
        old.iter().for_each(|place| self.forget(place));
    }

    fn forget(&mut self, place: &Place) {
        let Some((number, _)) = self.places.remove(place) else { return };
        let Some((watch, places)) = self.watches.get_mut(&number) else { return };
        places.retain(|other| other != place);
        if places.is_empty() {
            // Fails if the folder is gone, and the watch with it.
            let _ = self.inotify.watches().remove(watch.clone());
            self.watches.remove(&number);
        }
    }

    /// Takes what has happened, up to a limit. Does not wait.
    pub fn read(&mut self) -> io::Result<Named> {
        let mut named = Named::default();
        for _ in 0..READS_MAX {
            let events = match self.inotify.read_events(&mut self.buffer) {
                Ok(events) => events,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            let mut moving = false;
            for event in events {
                named.overflow |= event.mask.contains(EventMask::Q_OVERFLOW);
                // Of a watch that was forgotten, there may be events still.
                let number = event.wd.get_watch_descriptor_id();
                let Some((_, places)) = self.watches.get(&number) else { continue };
                moving = event.mask.contains(EventMask::MOVED_FROM);
                let closed = if event.mask.intersects(EventMask::CLOSE_WRITE | EventMask::MOVED_TO) {
                    Some(true)
                } else if event.mask.intersects(EventMask::MODIFY | EventMask::CREATE) {
                    Some(false)
                } else {
                    None
                };
                for Place { folder, relative } in places {
                    let name = match event.name {
                        Some(name) => [relative, name.as_encoded_bytes()].concat(),
                        None => relative.strip_suffix(b"/").unwrap_or(relative).to_vec(),
                    };
                    if name.is_empty() {
                        named.anew = true;
                    } else {
                        let known = named.names.entry(Place { folder: *folder, relative: name }).or_default();
                        *known = closed.or(*known);
                    }
                }
                if event.mask.contains(EventMask::IGNORED) {
                    let (_, places) = self.watches.remove(&number).expect("it was just there");
                    for place in places {
                        if self.places.get(&place).is_some_and(|(other, _)| *other == number) {
                            self.places.remove(&place);
                        }
                    }
                }
            }
            // A name's end and its beginning as another one belong together.
            if named.names.len() >= NAMES_MAX && !moving {
                break;
            }
        }
        Ok(named)
    }
}

impl AsFd for Notify {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }
}

/// Is the folder on a file system where others can write unseen by this kernel?
pub fn is_remote(path: &Path) -> bool {
    // NFS, SMB (two of them), CIFS, FUSE, 9P, Ceph, AFS: the numbers of linux/magic.h and statfs(2).
    const REMOTE: [u32; 8] =
        [0x6969, 0x517b, 0xfe53_4d42, 0xff53_4d42, 0x6573_5546, 0x0102_1997, 0x00c3_6400, 0x5346_414f];
    statfs(path).is_ok_and(|about| REMOTE.contains(&(about.filesystem_type().0 as u32)))
}
