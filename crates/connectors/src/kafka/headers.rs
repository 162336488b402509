//! The headers of a message. Their names may be any bytes: no broker looks at them, and rdkafka's own interface
//! panics where one is no UTF-8.
#![allow(unsafe_code, reason = "rdkafka has no interface to a header's name that takes any bytes")]

use std::ffi::CStr;
use std::ptr;

use millstream_core::Header;
use rdkafka::bindings as c;
use rdkafka::message::BorrowedMessage;

/// What is no UTF-8 in a name is read as U+FFFD.
pub(super) fn headers_of(message: &BorrowedMessage<'_>) -> Vec<Header> {
    let mut headers = ptr::null_mut();
    // SAFETY: the message lives as long as the borrow, and the headers belong to it.
    unsafe {
        let error = c::rd_kafka_message_headers(message.ptr(), &raw mut headers);
        match error == c::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR && !headers.is_null() {
            true => read(headers),
            false => Vec::new(),
        }
    }
}

/// # Safety
/// `headers` must be live.
unsafe fn read(headers: *const c::rd_kafka_headers_t) -> Vec<Header> {
    let one = |at| {
        let (mut name, mut value, mut length) = (ptr::null(), ptr::null(), 0);
        // SAFETY: the headers are live, and what the pointers lead to belongs to them: a text that ends with a zero,
        // and `length` bytes.
        unsafe {
            let error =
                c::rd_kafka_header_get_all(headers, at, &raw mut name, &raw mut value, &raw mut length);
            if error != c::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
                return None;
            }
            let name = CStr::from_ptr(name).to_string_lossy().into_owned();
            let value = match value.is_null() {
                true => None,
                false => Some(std::slice::from_raw_parts(value.cast::<u8>(), length).to_vec()),
            };
            Some((name, value))
        }
    };
    (0..).map_while(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_be_any_bytes_and_a_value_null() {
        let written: [(&[u8], Option<&[u8]>); 4] =
            [(b"trace", Some(b"1")), (b"caf\xe9", Some(b"\xff")), (b"empty", Some(b"")), (b"null", None)];
        // SAFETY: the headers are made here and destroyed here, and what is added is copied.
        let found = unsafe {
            let headers = c::rd_kafka_headers_new(written.len());
            for (name, value) in written {
                let (pointer, length) = value.map_or((ptr::null(), 0), |value| (value.as_ptr(), value.len()));
                c::rd_kafka_header_add(
                    headers,
                    name.as_ptr().cast(),
                    name.len() as isize,
                    pointer.cast(),
                    length as isize,
                );
            }
            let found = read(headers);
            c::rd_kafka_headers_destroy(headers);
            found
        };
        let expected: [(&str, Option<&[u8]>); 4] =
            [("trace", Some(b"1")), ("caf\u{fffd}", Some(b"\xff")), ("empty", Some(b"")), ("null", None)];
        assert_eq!(found, expected.map(|(name, value)| (name.to_owned(), value.map(<[u8]>::to_vec))));
    }
}
