//! What a slice knows of a test: the documents for which it surely holds, and those for which it may.

use roaring::RoaringBitmap;

/// See the module.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer {
    /// It holds for these.
    pub sure: RoaringBitmap,
    /// It holds for no others; all of `sure` are among them.
    pub may: RoaringBitmap,
}

impl Answer {
    /// It holds for these, and for no others.
    pub fn exact(set: RoaringBitmap) -> Answer {
        Answer { may: set.clone(), sure: set }
    }

    /// It holds for no others than these.
    pub fn perhaps(may: RoaringBitmap) -> Answer {
        Answer { sure: RoaringBitmap::new(), may }
    }

    /// It holds for the first, and may for the second.
    pub fn with(sure: RoaringBitmap, unsure: RoaringBitmap) -> Answer {
        Answer { may: unsure | &sure, sure }
    }

    /// Where both hold.
    pub fn and(&mut self, o: &Answer) {
        self.sure &= &o.sure;
        self.may &= &o.may;
    }

    /// Where one of them holds.
    pub fn or(&mut self, o: &Answer) {
        self.sure |= &o.sure;
        self.may |= &o.may;
    }
}
