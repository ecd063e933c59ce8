//! The names of users and groups, from `/etc/passwd` and `/etc/group`.
//!
//! Deliberately absent: the system's name services. These load libraries and ask the network, and may hang.

use std::collections::HashMap;
use std::fs;

/// The names of this machine's own users and groups.
#[derive(Clone, Debug, Default)]
pub struct Accounts {
    users: HashMap<u32, String>,
    groups: HashMap<u32, String>,
}

impl Accounts {
    /// Reads both files. A file that cannot be read has no names.
    pub fn read() -> Accounts {
        let names =
            |path| fs::read(path).map(|bytes| parse(&String::from_utf8_lossy(&bytes))).unwrap_or_default();
        Accounts { users: names("/etc/passwd"), groups: names("/etc/group") }
    }

    /// Accounts of one user and one group, for tests.
    #[cfg(test)]
    pub fn of(user: Option<(u32, &str)>, group: Option<(u32, &str)>) -> Accounts {
        let names =
            |one: Option<(u32, &str)>| one.map(|(id, name)| (id, name.to_owned())).into_iter().collect();
        Accounts { users: names(user), groups: names(group) }
    }

    /// The name of a user.
    pub fn user(&self, uid: u32) -> Option<&str> {
        self.users.get(&uid).map(String::as_str)
    }

    /// The name of a group.
    pub fn group(&self, gid: u32) -> Option<&str> {
        self.groups.get(&gid).map(String::as_str)
    }
}

/// The names by id. Both files have the name in the first field of a line and the id in the third (passwd(5),
/// group(5)).
fn parse(text: &str) -> HashMap<u32, String> {
    let mut names = HashMap::new();
    for line in text.lines() {
        let fields: Vec<&str> = line.split(':').collect();
        if let [name, _, id, ..] = fields[..]
            && let Ok(id) = id.parse()
            && !name.is_empty()
        {
            // Of several names, the first one is what the system shows.
            names.entry(id).or_insert_with(|| name.to_owned());
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_name_of_an_id_counts() {
        let names = parse(
            "root:x:0:0:root:/root:/bin/sh\nadm:x:4:syslog,tallyd\n# a comment\nadmin:x:4:\n:x:5:\nbad:x:y:\nshort:x\n",
        );
        assert_eq!(names, HashMap::from([(0, "root".to_owned()), (4, "adm".to_owned())]));
    }
}
