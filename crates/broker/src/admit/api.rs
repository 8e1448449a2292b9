//! What can be asked: one name per RPC, for metrics, logs and, later, rules of authorization.

macro_rules! apis {
    ($($name:ident = $text:literal,)*) => {
        /// An RPC, as a label of low cardinality.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        #[allow(missing_docs, reason = "each is the RPC of that name in proto/quipu")]
        pub enum Api { $($name,)* }

        impl Api {
            /// Every one.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The label `api` of a metric.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

apis! {
    Produce = "Produce",
    ProduceStream = "ProduceStream",
    InitProducer = "InitProducer",
    Fetch = "Fetch",
    Consume = "Consume",
    ListOffsets = "ListOffsets",
    CreateTopic = "CreateTopic",
    GetTopic = "GetTopic",
    ListTopics = "ListTopics",
    UpdateTopicConfig = "UpdateTopicConfig",
    DeleteTopic = "DeleteTopic",
    CreatePartitions = "CreatePartitions",
    DeleteRecords = "DeleteRecords",
    GetCluster = "GetCluster",
    GetRouting = "GetRouting",
    WatchRouting = "WatchRouting",
    ListBrokers = "ListBrokers",
    CheckCluster = "CheckCluster",
    SetLogLevel = "SetLogLevel",
    GetControllers = "GetControllers",
    JoinController = "JoinController",
    LeaveController = "LeaveController",
    Replicate = "Replicate",
    ListGroups = "ListGroups",
    DescribeGroup = "DescribeGroup",
    DeleteGroup = "DeleteGroup",
    CommitOffsets = "CommitOffsets",
    GetOffsets = "GetOffsets",
    ResetOffsets = "ResetOffsets",
    GroupHeartbeat = "GroupHeartbeat",
    LeaveGroup = "LeaveGroup",
}
