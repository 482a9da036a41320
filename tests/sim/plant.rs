//! The bugs that are planted, each with what it breaks; `planted` plants them.

macro_rules! plants {
    ($($(#[$doc:meta])* $plant:ident,)*) => {
        /// A bug. Beside each the rule of the write protocol that it breaks.
        #[derive(Clone, Copy, Debug, PartialEq)]
        pub enum Plant {
            $($(#[$doc])* $plant,)*
        }

        impl Plant {
            pub const ALL: &[Plant] = &[$(Plant::$plant,)*];
        }
    };
}

plants! {
    /// A row's position is not compared: events are applied again.
    PositionIgnored,
    /// A row is taken to be one event behind.
    PositionOneLow,
    /// A row is taken to be one event ahead.
    PositionOneHigh,
    /// A deleted row is read as one that never was.
    DeletedForgotten,
    /// A deleted row leaves no position.
    BuryIsDelete,
    /// A row that is deleted stays.
    BuryDropped,
    /// Rows are read as they were when this owner first read them.
    StaleReads,
    /// Rows in memory outlive the batch that failed.
    CacheOutlivesFailure,
    /// Names of buckets in memory outlive the batch that failed.
    BucketsOutliveFailure,
    /// Of a range only the first row is seen.
    RangeCut,
    /// The base row is sent before its copies.
    BaseBeforeDerived,
    /// The old copy goes before the new one is there.
    LeftBeforeDerived,
    /// Progress is sent before the rows.
    ProgressFirst,
    /// Progress passes an event that was not folded.
    ProgressOneAhead,
    /// Progress is sent with the rows, not after them.
    PhasesAtOnce,
    /// Progress is sent before what it passed is queued.
    ProgressBeforeParked,
    /// A batch counts as written when it is sent.
    NotWaitedFor,
    /// A write that fails counts as written.
    FailureIgnored,
    /// Copies under keys that were left stay.
    LeftDropped,
    /// Copies under keys that were left are deleted only where they are seen.
    LeftOnlyWhereStored,
    /// What left a copy is stamped as the event after it.
    LeftOneLate,
    /// What left a copy is stamped as the first event of all.
    LeftUnstamped,
    /// A copy is written only where none stands.
    DerivedOnlyWhereNew,
    /// A copy that is written keeps the cells that are null now.
    CopyAssigned,
    /// A base row that is written keeps the cells that are null now.
    BaseAssigned,
    /// Two columns change places.
    ColumnsSwapped,
    /// The last row of a batch is left out.
    LastRowDropped,
    /// Stamps follow the times of records.
    StampsFromTimes,
    /// All stamps are the same.
    StampsTie,
    /// Each owner chooses its own base of the stamps.
    BaseOfEachOwner,
    /// The base is stored with the first rows, not before them.
    BaseStoredLate,
    /// An event that must wait is lost.
    QueueEntryLost,
    /// The decision to park is lost.
    ParkLost,
    /// An owner does not know what was parked before it.
    ParkedUnknown,
    /// The name of a bucket is not written.
    BucketDropped,
    /// The name of a bucket comes after its rows.
    BucketLast,
    /// Of an atomic store: progress and the first half of the rows are one batch, the rest another.
    BatchTorn,
    /// The log leaves a record out.
    RecordLost,
    /// The log gives two records in the wrong order.
    RecordsSwapped,
    /// A reader that is to go back goes on.
    SeekIgnored,
    /// A reader begins one record too late where it does not begin at the start.
    ReadOneLate,
    /// A partition is not read.
    PartitionSkipped,
    /// Decisions hold whoever makes them.
    DecisionsUnfenced,
    /// Of an atomic store: batches are applied whoever commits them.
    BatchesUnfenced,
    /// What an owner refuses changes while it lives (B11).
    DefinitionsChange,
    /// A decision that was refused counts as taken (P1).
    RefusalIgnored,
    /// Partitions are taken without that anybody could know (P3).
    EpochNotRaised,
    /// What is parked is read before the partitions are taken (P3).
    ParkedReadBeforeOwn,
    /// A parked key is taken to be parked from its first event on (P4).
    ParkedFromTheStart,
    /// An event leaves its queue before its row has it (P5).
    DequeuedFirst,
    /// A queue is worked off from its end (P5).
    QueueReversed,
    /// An event that its row has is applied from the queue once more (P6).
    RetriedAgain,
    /// What is skipped leaves no position (P8).
    PassedWithoutPosition,
    /// How a release was begun is not stored (B11).
    BegunNotStored,
    /// A skip takes whichever event is the first.
    AnySkipped,
    /// An event stays in its queue when its row has it.
    DequeueLost,
    /// What was in doubt is not looked at.
    DoubtIgnored,
    /// What assigns blindly does not write nulls (A1).
    NullsLeftOut,
    /// A row is read as cells of a later write with the position of an earlier one (S1).
    RowSplit,
    /// What one replica has counts as stored (S2).
    ReadUnrepaired,
    /// Keys of copies do not end in the key of the row (B9).
    CopyKeyCut,
}
