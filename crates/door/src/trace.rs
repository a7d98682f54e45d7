//! Where a request comes from, as W3C's trace context says it: `traceparent`, in a header of HTTP or of an event.

/// The header's name, in both.
pub const TRACEPARENT: &str = "traceparent";

/// The span that a request belongs to, at whoever sent it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parent {
    pub trace: u128,
    pub span: u64,
    /// Whoever sent it keeps this trace.
    pub sampled: bool,
}

impl Parent {
    /// Reads a header's value; nonsense is no parent, as the standard wants it.
    pub fn read(value: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(value).ok()?.trim();
        let mut parts = text.split('-');
        let (version, trace) = (digits(parts.next()?, 2)?, digits(parts.next()?, 32)?);
        let (span, flags) = (digits(parts.next()?, 16)?, digits(parts.next()?, 2)?);
        // A later version may say more behind what is known; version 255 is forbidden.
        let more = parts.next().is_some();
        if version == 255 || (version == 0 && more) || trace == 0 || span == 0 {
            return None;
        }
        Some(Self { trace, span: span as u64, sampled: flags & 1 == 1 })
    }
}

/// A number of exactly so many small hexadecimal digits.
fn digits(text: &str, count: usize) -> Option<u128> {
    let small = |c: u8| c.is_ascii_digit() || (b'a'..=b'f').contains(&c);
    (text.len() == count && text.bytes().all(small)).then_some(())?;
    u128::from_str_radix(text, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parent_is_read_as_the_standard_says_and_nonsense_is_none() {
        let trace = 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c;
        let span = 0xb7ad_6b71_6920_3331;
        let said = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let parent = Parent { trace, span, sampled: true };
        assert_eq!(Parent::read(said.as_bytes()), Some(parent));
        let not = said.replace("-01", "-00");
        assert_eq!(Parent::read(not.as_bytes()), Some(Parent { sampled: false, ..parent }));
        let later = said.replace("00-0", "cc-0") + "-more";
        assert_eq!(Parent::read(later.as_bytes()), Some(parent));
        for nonsense in [
            "",
            "00",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b71692033-01",
            "00-+af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        ] {
            assert_eq!(Parent::read(nonsense.as_bytes()), None, "{nonsense}");
        }
        assert_eq!(Parent::read(&[0xff; 55]), None);
    }
}
