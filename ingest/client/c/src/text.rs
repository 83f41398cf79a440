//! Text from and to C.

use std::ffi::{CStr, c_char};

/// The text; `None` if it is null or no UTF-8.
///
/// # Safety
/// It is null, or ends with NUL and stays as it is for `'a`.
pub(crate) unsafe fn read<'a>(text: *const c_char) -> Option<&'a str> {
    if text.is_null() {
        return None;
    }
    // SAFETY: as this function asks.
    unsafe { CStr::from_ptr(text) }.to_str().ok()
}

/// Writes a text and a NUL, cut at a character so that both fit.
///
/// # Safety
/// `to` is null, or has `bytes` bytes that may be written.
pub(crate) unsafe fn write(text: &str, to: *mut c_char, bytes: usize) {
    if to.is_null() || bytes == 0 {
        return;
    }
    let end = text.floor_char_boundary(bytes - 1);
    // SAFETY: `end` is less than `bytes`, and the text is elsewhere.
    unsafe {
        std::ptr::copy_nonoverlapping(text.as_ptr().cast(), to, end);
        to.add(end).write(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_cut_at_a_character() {
        let mut buffer = [1; 4];
        // SAFETY: the buffer has so many bytes.
        unsafe { write("aéé", buffer.as_mut_ptr(), buffer.len()) };
        // SAFETY: it ends with NUL.
        assert_eq!(unsafe { read(buffer.as_ptr()) }, Some("aé"));
        // SAFETY: null is allowed.
        unsafe { write("a", std::ptr::null_mut(), 4) };
        // SAFETY: null is allowed.
        assert_eq!(unsafe { read(std::ptr::null()) }, None);
    }
}
