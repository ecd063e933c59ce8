//! A secret of the environment, taken out of it.
//!
//! What stands in the environment of a process, all its children have in their memory. A memory object is had
//! only by those who keep its descriptor.

use std::ffi::{CStr, CString, OsStr};
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;

use nix::sys::memfd::{MFdFlags, memfd_create};

/// Takes a variable out of the environment: its value is in the memory object from now on, and nowhere else
/// in this process. To be called at the start of the program, before anything else copies the environment.
/// Without such a variable, or with an empty one, there is nothing.
///
/// # Errors
/// If the system has no memory or descriptor for it.
pub fn take_variable(name: &CStr) -> io::Result<Option<File>> {
    // SAFETY: this process has one thread yet, so nobody changes the environment meanwhile.
    let value = unsafe { libc::getenv(name.as_ptr()) };
    if value.is_null() {
        return Ok(None);
    }
    // SAFETY: what getenv gives is a text that ends with a zero and stands in the environment until that is
    // changed, which is not before the end of this function.
    let length = unsafe { CStr::from_ptr(value) }.to_bytes().len();
    let file = File::from(memfd_create(c"tallyd-secret", MFdFlags::MFD_CLOEXEC)?);
    {
        // SAFETY: likewise; these bytes are this process's own and writable, and nobody else looks at them.
        let bytes = unsafe { std::slice::from_raw_parts_mut(value.cast::<u8>(), length) };
        (&file).write_all(bytes)?;
        bytes.fill(0);
    }
    // SAFETY: this process has one thread yet.
    unsafe { std::env::remove_var(OsStr::from_bytes(CString::from(name).as_bytes())) };
    Ok((length > 0).then_some(file))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Seek};

    #[test]
    fn a_variable_is_taken_once() {
        // SAFETY: each test runs in a process of its own (nextest), or else this is the only test that looks
        // at this variable.
        unsafe { std::env::set_var("TALLYD_TEST_SECRET", "sesame") };
        let mut file = take_variable(c"TALLYD_TEST_SECRET").unwrap().unwrap();
        let mut text = String::new();
        file.rewind().unwrap();
        file.read_to_string(&mut text).unwrap();
        assert_eq!(text, "sesame");
        assert_eq!(std::env::var_os("TALLYD_TEST_SECRET"), None);
        assert!(take_variable(c"TALLYD_TEST_SECRET").unwrap().is_none());
    }
}
