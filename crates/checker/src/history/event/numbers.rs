//! Our integer types as JSON numbers.

/// A module that reads and writes one of them, and one for where it is absent.
macro_rules! as_number {
    ($module:ident, $optional:ident, $name:ident, $int:ty) => {
        as_number!(@plain $module, $name, $int);
        as_number!(@optional $optional, $name, $int);
    };
    (@plain $module:ident, $name:ident, $int:ty) => {
        pub(super) mod $module {
            use quipu_record::$name;
            use serde::{Deserialize, Deserializer, Serialize, Serializer};

            pub(in super::super) fn serialize<S: Serializer>(value: &$name, serializer: S) -> Result<S::Ok, S::Error> {
                value.get().serialize(serializer)
            }

            pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<$name, D::Error> {
                <$int>::deserialize(deserializer).map($name::new)
            }
        }
    };
    (@optional $optional:ident, $name:ident, $int:ty) => {
        pub(super) mod $optional {
            use quipu_record::$name;
            use serde::{Deserialize, Deserializer, Serialize, Serializer};

            pub(in super::super) fn serialize<S: Serializer>(
                value: &Option<$name>,
                serializer: S,
            ) -> Result<S::Ok, S::Error> {
                value.map($name::get).serialize(serializer)
            }

            pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
                deserializer: D,
            ) -> Result<Option<$name>, D::Error> {
                Ok(Option::<$int>::deserialize(deserializer)?.map($name::new))
            }
        }
    };
}

as_number!(offset, optional_offset, Offset, u64);
as_number!(epoch, optional_epoch, LeaderEpoch, u32);
as_number!(@optional optional_version, MetadataVersion, u64);
as_number!(@plain broker, BrokerId, u32);
