//! Which fault an operation of a simulated store meets: drawn from one generator, so that a seed gives the
//! same faults each time.

use jiff::SignedDuration;

use crate::random::SplitMix64;

/// What becomes of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It is done.
    None,
    /// It is not done, and fails.
    Before,
    /// It is done, and fails nevertheless: the answer was lost.
    After,
    /// A write or a deletion that fails, and is done after this many later operations.
    Late(u64),
    /// It is done after this much time has passed.
    Delay(SignedDuration),
    /// Of what is written or read only a part arrives, and no error says so.
    Truncated,
}

/// How many of 1,000 operations meet each fault.
#[derive(Debug, Clone, Copy, Default)]
pub struct FaultRates {
    /// [`Fault::Before`].
    pub before: u64,
    /// [`Fault::After`].
    pub after: u64,
    /// [`Fault::Late`].
    pub late: u64,
    /// [`Fault::Delay`].
    pub delay: u64,
    /// [`Fault::Truncated`].
    pub truncated: u64,
    /// How many of 1,000 deletions that meet no fault are [`Fault::Late`].
    pub late_deletions: u64,
}

impl FaultRates {
    /// A store in which about every sixth operation goes wrong.
    #[must_use]
    pub fn bad() -> Self {
        Self { before: 40, after: 40, late: 25, delay: 30, truncated: 25, late_deletions: 250 }
    }

    /// A store in which little goes wrong but deletions, so that there is much to delete.
    #[must_use]
    pub fn rare() -> Self {
        Self { before: 4, after: 4, late: 4, delay: 4, truncated: 4, late_deletions: 250 }
    }

    /// The fault of the next operation.
    pub(super) fn draw(self, random: &mut SplitMix64) -> Fault {
        let (place, amount) = (random.below(1000), random.next_u64());
        let mut end = 0;
        let mut is = |rate: u64| {
            end += rate;
            place < end
        };
        if is(self.before) {
            Fault::Before
        } else if is(self.after) {
            Fault::After
        } else if is(self.late) {
            Fault::Late(1 + amount % 40)
        } else if is(self.delay) {
            Fault::Delay(SignedDuration::from_secs((1 + amount % 600).cast_signed()))
        } else if is(self.truncated) {
            Fault::Truncated
        } else {
            Fault::None
        }
    }
}
