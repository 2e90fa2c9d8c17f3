//! Session tokens: a client's causal past.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use super::limits::SESSION_BRANCHES;
use super::{BranchName, LedgerId, Sequence};

/// First byte of an encoded token.
const VERSION: u8 = 1;
/// An encoded token of one branch fits.
const USUAL_BYTES: usize = 64;

/// What a client has seen: per branch, the ledger's identity and the sequence reached.
///
/// A token grants no rights. Whoever presents it sees that state or a later one.
///
/// ```
/// use bank::model::{LedgerId, Sequence, Session};
/// let mut session = Session::default();
/// session.saw(&"main".parse().unwrap(), LedgerId([7; 16]), Sequence(42));
/// assert_eq!(Session::parse(&session.token()), Ok(session));
/// ```
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Session {
    branches: BTreeMap<BranchName, Seen>,
}

/// A point in the life of one ledger.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Seen {
    /// Which life of the ledger.
    pub ledger: LedgerId,
    /// How far.
    pub sequence: Sequence,
}

impl Session {
    /// What this session has seen of a branch.
    #[must_use]
    pub fn of(&self, branch: &BranchName) -> Option<Seen> {
        self.branches.get(branch).copied()
    }

    /// Adds what a reply showed. Within one ledger the later sequence counts; another ledger replaces
    /// the former one, because the server that answered has accepted the session.
    pub fn saw(&mut self, branch: &BranchName, ledger: LedgerId, sequence: Sequence) {
        let seen = Seen { ledger, sequence };
        match self.branches.get_mut(branch) {
            Some(known) if known.ledger == ledger && known.sequence >= sequence => {}
            Some(known) => *known = seen,
            None => {
                self.branches.insert(branch.clone(), seen);
            }
        }
    }

    /// Adds everything that another session has seen.
    pub fn merge(&mut self, other: &Session) {
        for (branch, seen) in &other.branches {
            self.saw(branch, seen.ledger, seen.sequence);
        }
    }

    /// The token: URL-safe text, about 40 bytes for one branch.
    #[must_use]
    pub fn token(&self) -> String {
        let mut bytes = Vec::with_capacity(USUAL_BYTES);
        bytes.push(VERSION);
        for (branch, seen) in &self.branches {
            bytes = postcard::to_extend(&(branch.as_str(), seen), bytes)
                .expect("a vector takes every byte that is written to it");
        }
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Reads a token; the empty text is the session that has seen nothing.
    ///
    /// # Errors
    /// [`SessionError`] when the text is no token of this program or names more than 64 branches.
    pub fn parse(token: &str) -> Result<Session, SessionError> {
        if token.is_empty() {
            return Ok(Session::default());
        }
        let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| SessionError)?;
        let Some((&VERSION, mut rest)) = bytes.split_first() else {
            return Err(SessionError);
        };
        let mut session = Session::default();
        while !rest.is_empty() {
            let ((branch, seen), left): ((&str, Seen), _) =
                postcard::take_from_bytes(rest).map_err(|_| SessionError)?;
            session.branches.insert(branch.parse().map_err(|_| SessionError)?, seen);
            if session.branches.len() > SESSION_BRANCHES {
                return Err(SessionError);
            }
            rest = left;
        }
        Ok(session)
    }
}

/// The text is not a session token.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("this is not a session token; present one exactly as a reply gave it, or none")]
pub struct SessionError;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn branch(name: &str) -> BranchName {
        name.parse().unwrap()
    }

    #[test]
    fn the_later_sequence_of_one_ledger_counts() {
        let mut session = Session::default();
        let (first, second) = (LedgerId([1; 16]), LedgerId([2; 16]));
        for (ledger, sequence, expected) in [(first, 5, 5), (first, 3, 5), (first, 9, 9), (second, 1, 1)] {
            session.saw(&branch("main"), ledger, Sequence(sequence));
            assert_eq!(session.of(&branch("main")), Some(Seen { ledger, sequence: Sequence(expected) }));
        }
        assert_eq!(session.of(&branch("delhi")), None);
    }

    #[test]
    fn a_token_of_one_branch_is_short() {
        let mut session = Session::default();
        session.saw(&branch("main"), LedgerId([0xff; 16]), Sequence(1_000_000_000));
        assert!(session.token().len() <= 48, "{}", session.token());
    }

    #[test]
    fn sessions_merge() {
        let (mut a, mut b) = (Session::default(), Session::default());
        a.saw(&branch("delhi"), LedgerId([1; 16]), Sequence(7));
        b.saw(&branch("delhi"), LedgerId([1; 16]), Sequence(8));
        b.saw(&branch("mumbai"), LedgerId([2; 16]), Sequence(1));
        a.merge(&b);
        assert_eq!(a, b);
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC{0,80}|[A-Za-z0-9_-]{0,80}") {
            let _ = Session::parse(&text);
        }

        #[test]
        fn a_damaged_token_is_refused_or_another_token(position in 0usize..40, bit in 0u8..8) {
            let mut session = Session::default();
            session.saw(&branch("main"), LedgerId([9; 16]), Sequence(300));
            let mut token = session.token().into_bytes();
            let position = position % token.len();
            token[position] ^= 1 << bit;
            if let Ok(text) = String::from_utf8(token) && let Ok(other) = Session::parse(&text) {
                prop_assert_ne!(other, session);
            }
        }
    }
}
