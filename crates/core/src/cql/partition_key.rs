//! The partition key that a query is about, so that a store need not look at any other rows.

use arrow::array::ArrayRef;

use super::{Cells, Key, Table, Value};

/// One value for each column of a table's partition key.
pub struct PartitionKey {
    columns: Vec<Cells>,
}

impl PartitionKey {
    /// The key out of `constants`, each a column's name and an array with its value; `None` where
    /// they are not all of the key, or are no values of its types.
    pub fn of(table: &Table, constants: &[(String, ArrayRef)]) -> Option<Self> {
        let columns = table.key().filter(|column| column.key == Some(Key::Partition)).map(|column| {
            let (_, constant) = constants.iter().find(|(name, _)| *name == column.name)?;
            let cells = Cells::new(constant, &column.kind)?;
            matches!(cells.get(0), Ok(Some(_))).then_some(cells)
        });
        Some(Self { columns: columns.collect::<Option<_>>()? })
    }

    /// The values in the key's order.
    pub fn values(&self) -> impl Iterator<Item = Value<'_>> {
        self.columns.iter().filter_map(|cells| cells.get(0).ok().flatten())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Int32Array, StringArray};

    use super::*;
    use crate::cql::parse;

    #[test]
    fn only_a_whole_key_of_the_right_types_is_one() {
        let create = "CREATE TABLE k.t (a bigint, b uuid, c text, PRIMARY KEY ((a, b), c))";
        let table = parse(create, "k", "t").expect("a table");
        let a = ("a".to_owned(), Arc::new(Int32Array::from(vec![1])) as ArrayRef);
        let text = |text| ("b".to_owned(), Arc::new(StringArray::from(vec![text])) as ArrayRef);
        let uuid = text("0f5cc5f9-f46f-47f1-ade4-2d60ad67ade2");
        let key = PartitionKey::of(&table, &[uuid.clone(), a.clone()]).expect("the whole key");
        assert_eq!(key.values().next(), Some(Value::Integer(1)));
        assert_eq!(key.values().count(), 2);
        assert!(PartitionKey::of(&table, std::slice::from_ref(&uuid)).is_none());
        assert!(PartitionKey::of(&table, &[text("x"), a]).is_none());
    }
}
