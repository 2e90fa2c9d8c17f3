//! Page tokens: where a list goes on. Opaque to callers, bound to the query that returned them and to the
//! life of the ledger, and pinned to the moment of the first page.
//!
//! A token grants no rights; the check is against mistakes and damage. `api` calls it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::model::{Failure, LedgerId, Reason};

/// First byte of a token.
const VERSION: u8 = 1;
/// Bytes of the check.
const CHECK_BYTES: usize = 8;
/// Longest token worth decoding.
const TOKEN_BYTES: usize = 256;

/// What a token is bound to: the call, the ledger's life, and the fields that choose what is listed.
#[derive(Clone, Copy, Debug)]
pub struct Query<'a, F> {
    /// The name of the call.
    pub call: &'a str,
    /// The ledger that the list is of.
    pub ledger: LedgerId,
    /// The fields that choose what is listed.
    pub fields: F,
}

impl<F: Serialize> Query<'_, F> {
    /// The token of a place in this query's list.
    #[must_use]
    pub fn token(&self, place: &impl Serialize) -> String {
        let mut bytes = postcard::to_extend(place, vec![VERSION])
            .expect("a vector takes every byte that is written to it");
        let check = self.check(&bytes);
        bytes.extend_from_slice(&check);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// The place that a token names; none for the empty text, which is the beginning.
    ///
    /// # Errors
    /// `PAGE_TOKEN_INVALID` for a damaged token and for one of another query.
    pub fn place<P: DeserializeOwned>(&self, token: &str) -> Result<Option<P>, Failure> {
        if token.is_empty() {
            return Ok(None);
        }
        self.decode(token).map(Some).ok_or_else(|| {
            Failure::new(
                Reason::PageTokenInvalid,
                "this page token is damaged or belongs to another query; repeat the query that returned it, or start without a token",
            )
            .in_field("page_token")
        })
    }

    fn decode<P: DeserializeOwned>(&self, token: &str) -> Option<P> {
        if token.len() > TOKEN_BYTES {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
        let (body, check) = bytes.split_last_chunk::<CHECK_BYTES>()?;
        if self.check(body) != *check {
            return None;
        }
        let (&VERSION, place) = body.split_first()? else { return None };
        postcard::from_bytes(place).ok()
    }

    fn check(&self, body: &[u8]) -> [u8; CHECK_BYTES] {
        let query = postcard::to_allocvec(&(self.call, self.ledger, &self.fields))
            .expect("a vector takes every byte that is written to it");
        let mut hasher = blake3::Hasher::new();
        hasher.update(&(query.len() as u64).to_le_bytes()).update(&query).update(body);
        let mut check = [0; CHECK_BYTES];
        hasher.finalize_xof().fill(&mut check);
        check
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn query(call: &str, account: u64) -> Query<'_, u64> {
        Query { call, ledger: LedgerId([7; 16]), fields: account }
    }

    #[test]
    fn a_token_belongs_to_its_query() {
        let token = query("ListEntries", 1).token(&(5u64, 6u64));
        assert_eq!(query("ListEntries", 1).place::<(u64, u64)>(&token), Ok(Some((5, 6))));
        assert_eq!(query("ListEntries", 1).place::<(u64, u64)>(""), Ok(None));
        let other_life = Query { ledger: LedgerId([8; 16]), ..query("ListEntries", 1) };
        for other in [query("ListEntries", 2), query("ListAccounts", 1), other_life] {
            let failure = other.place::<(u64, u64)>(&token).unwrap_err();
            assert_eq!(failure.reason, Reason::PageTokenInvalid);
        }
    }

    proptest! {
        #[test]
        fn a_damaged_token_is_refused(position in 0usize..64, bit in 0u8..8) {
            let good = query("ListEntries", 1).token(&(5u64, 600u64));
            let mut token = good.clone().into_bytes();
            let position = position % token.len();
            token[position] ^= 1 << bit;
            if let Ok(text) = String::from_utf8(token) {
                prop_assert!(query("ListEntries", 1).place::<(u64, u64)>(&text).is_err());
            }
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,300}|[A-Za-z0-9_-]{0,300}") {
            let _ = query("ListEntries", 1).place::<(u64, u64)>(&text);
        }
    }
}
