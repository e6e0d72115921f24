//! Where the fields of a kind stand.

use super::Spec;
use crate::event::Fact;

impl Spec {
    /// Index of the field with a name of the wire.
    #[must_use]
    pub fn index_of(&self, name: &str) -> Option<usize> {
        self.fields.iter().position(|field| field.name == name)
    }

    /// Index of the field with a column.
    #[must_use]
    pub fn index_of_column(&self, column: &str) -> Option<usize> {
        self.fields
            .iter()
            .position(|field| field.column.name() == column)
    }

    /// Index of the field that names a device, if there is one.
    #[must_use]
    pub fn device_index(&self) -> Option<usize> {
        self.fields.iter().position(|field| field.ty.is_device())
    }

    /// Index of the field that names a site, if there is one.
    #[must_use]
    pub fn site_index(&self) -> Option<usize> {
        self.fields.iter().position(|field| field.ty.is_site())
    }

    /// Index of the field that says which part of a reading an event is, if there is one.
    #[must_use]
    pub fn part_index(&self) -> Option<usize> {
        self.index_of("part")
    }

    /// Name of the GraphQL input type.
    #[must_use]
    pub fn input_name(&self) -> String {
        format!("{}Input", self.type_name)
    }
}

impl Fact {
    /// The key of the device that it tells of, if it tells of one.
    #[must_use]
    pub fn device_key(&self) -> Option<i64> {
        self.cells.get(self.spec().device_index()?)?.int()
    }
}
