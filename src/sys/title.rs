//! What `ps` shows for a process.
//!
//! Linux shows the memory that the arguments stood in when the program started; a process that writes there
//! gives itself a name (as PostgreSQL, nginx and sendmail do). The environment stands right behind it and is
//! moved away first, so that there is room.

use std::ffi::CString;
use std::io;
use std::ops::Range;

/// The memory that `ps` shows.
#[derive(Debug, Clone)]
pub struct Title {
    /// The addresses of the arguments and, right behind, of the environment as it was at the start.
    area: Range<usize>,
}

impl Title {
    /// Finds the memory and makes it free. To be called once, at the start of the program, before anything
    /// else looks at the environment.
    ///
    /// # Errors
    /// If `/proc` does not tell where it is. The processes are then all shown alike, and nothing else is
    /// lost.
    pub fn take() -> io::Result<Title> {
        let stat = std::fs::read_to_string("/proc/self/stat")?;
        // Fields 48 to 51 of proc_pid_stat(5): arg_start, arg_end, env_start, env_end. The name in field 2
        // may hold spaces and ends with `)`.
        let fields = stat.rsplit_once(") ").map_or("", |(_, fields)| fields).split(' ');
        let places: Vec<usize> = fields.skip(45).take(4).filter_map(|field| field.parse().ok()).collect();
        let [arg_start, arg_end, env_start, env_end] = places[..] else {
            return Err(io::Error::other("/proc/self/stat is too short"));
        };
        if arg_start == 0 || arg_start >= arg_end {
            return Err(io::Error::other("/proc/self/stat has no address of the arguments"));
        }
        let end = if env_start == arg_end && env_end >= env_start {
            let variables: Vec<_> = std::env::vars_os().collect();
            for (name, value) in variables {
                // SAFETY: this process has one thread yet, so nobody reads the environment meanwhile. Setting
                // a variable makes a copy of it on the heap and leaves the old memory to us.
                unsafe { std::env::set_var(name, value) };
            }
            env_end
        } else {
            arg_end
        };
        // The standard library reads the arguments from here each time it is asked; whoever wants them has
        // them by now.
        Ok(Title { area: arg_start..end })
    }

    /// Shows `name` and `more` from now on, as far as there is room; where there is room for 15 bytes only,
    /// `name`.
    pub fn set(&self, name: &str, more: &str) {
        let Range { start, end } = self.area;
        let title: Vec<u8> =
            name.bytes().chain(more.bytes()).filter(|byte| *byte != 0).take(end - start - 1).collect();
        // SAFETY: the kernel said that the arguments and the environment stand here, on the stack, below
        // every frame; they are writable and stay mapped for the life of the process. `take` has moved away
        // what others would look for.
        unsafe {
            std::ptr::copy_nonoverlapping(title.as_ptr(), start as *mut u8, title.len());
            std::ptr::write_bytes((start + title.len()) as *mut u8, 0, end - start - title.len());
        }
        // What `ps -o comm` and `top` show, cut to 15 bytes: `tallyd:worker 3`.
        if let Ok(short) = CString::new(name.replacen(": ", ":", 1)) {
            let _ = nix::sys::prctl::set_name(&short);
        }
    }
}
