//! Builders of the library's type descriptions, for types that are made from what kinds say.

use async_graphql::indexmap::{IndexMap, IndexSet};
use async_graphql::registry::{
    CacheControl, Deprecation, MetaEnumValue, MetaField, MetaInputValue, MetaType, Registry,
};

/// A field of an object.
pub(super) fn field(name: &str, ty: &str, description: &str) -> MetaField {
    MetaField {
        name: name.to_owned(),
        description: Some(description.to_owned()),
        args: IndexMap::new(),
        ty: ty.to_owned(),
        deprecation: Deprecation::NoDeprecated,
        cache_control: CacheControl::default(),
        external: false,
        requires: None,
        provides: None,
        visible: None,
        shareable: false,
        inaccessible: false,
        tags: Vec::new(),
        override_from: None,
        compute_complexity: None,
        directive_invocations: Vec::new(),
        requires_scopes: Vec::new(),
    }
}

/// A field with arguments.
pub(super) fn field_with(
    name: &str,
    ty: &str,
    description: &str,
    arguments: Vec<MetaInputValue>,
) -> MetaField {
    let args = arguments
        .into_iter()
        .map(|argument| (argument.name.clone(), argument))
        .collect();
    MetaField {
        args,
        ..field(name, ty, description)
    }
}

/// An argument, or a field of an input object.
pub(super) fn input(name: &str, ty: &str, description: &str) -> MetaInputValue {
    MetaInputValue {
        name: name.to_owned(),
        description: Some(description.to_owned()),
        ty: ty.to_owned(),
        deprecation: Deprecation::NoDeprecated,
        default_value: None,
        visible: None,
        inaccessible: false,
        tags: Vec::new(),
        is_secret: false,
        directive_invocations: Vec::new(),
    }
}

/// An argument with a default, written as in the SDL.
pub(super) fn input_or(name: &str, ty: &str, default: &str, description: &str) -> MetaInputValue {
    MetaInputValue {
        default_value: Some(default.to_owned()),
        ..input(name, ty, description)
    }
}

/// Adds an object.
pub(super) fn object(
    registry: &mut Registry,
    name: &str,
    description: &str,
    fields: Vec<MetaField>,
) {
    let ty = object_type(name, description, fields, false);
    registry.types.insert(name.to_owned(), ty);
}

/// The description of an object.
pub(super) fn object_type(
    name: &str,
    description: &str,
    fields: Vec<MetaField>,
    is_subscription: bool,
) -> MetaType {
    MetaType::Object {
        name: name.to_owned(),
        description: (!description.is_empty()).then(|| description.to_owned()),
        fields: fields
            .into_iter()
            .map(|field| (field.name.clone(), field))
            .collect(),
        cache_control: CacheControl::default(),
        extends: false,
        shareable: false,
        resolvable: true,
        keys: None,
        visible: None,
        inaccessible: false,
        interface_object: false,
        tags: Vec::new(),
        is_subscription,
        rust_typename: None,
        directive_invocations: Vec::new(),
        requires_scopes: Vec::new(),
    }
}

/// Adds an interface with the objects that implement it.
pub(super) fn interface(
    registry: &mut Registry,
    name: &str,
    description: &str,
    fields: Vec<MetaField>,
    possible: &[String],
) {
    for object in possible {
        registry.add_implements(object, name);
    }
    let ty = MetaType::Interface {
        name: name.to_owned(),
        description: Some(description.to_owned()),
        fields: fields
            .into_iter()
            .map(|field| (field.name.clone(), field))
            .collect(),
        possible_types: possible.iter().cloned().collect::<IndexSet<_>>(),
        extends: false,
        inaccessible: false,
        tags: Vec::new(),
        keys: None,
        visible: None,
        rust_typename: None,
        directive_invocations: Vec::new(),
        requires_scopes: Vec::new(),
    };
    registry.types.insert(name.to_owned(), ty);
}

/// How many entries of an input object are given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entries {
    /// Any.
    Any,
    /// Exactly one (`@oneOf`).
    One,
}

/// Adds an input object.
pub(super) fn input_object(
    registry: &mut Registry,
    name: &str,
    description: &str,
    fields: Vec<MetaInputValue>,
    entries: Entries,
) {
    let ty = MetaType::InputObject {
        name: name.to_owned(),
        description: Some(description.to_owned()),
        input_fields: fields
            .into_iter()
            .map(|field| (field.name.clone(), field))
            .collect(),
        visible: None,
        inaccessible: false,
        tags: Vec::new(),
        rust_typename: None,
        oneof: entries == Entries::One,
        directive_invocations: Vec::new(),
    };
    registry.types.insert(name.to_owned(), ty);
}

/// Adds an enum.
pub(super) fn enumeration(
    registry: &mut Registry,
    name: &str,
    description: &str,
    values: &[(&str, &str)],
) {
    let value = |(name, description): &(&str, &str)| {
        let value = MetaEnumValue {
            name: (*name).to_owned(),
            description: Some((*description).to_owned()),
            deprecation: Deprecation::NoDeprecated,
            visible: None,
            inaccessible: false,
            tags: Vec::new(),
            directive_invocations: Vec::new(),
        };
        ((*name).to_owned(), value)
    };
    let ty = MetaType::Enum {
        name: name.to_owned(),
        description: Some(description.to_owned()),
        enum_values: values.iter().map(value).collect(),
        visible: None,
        inaccessible: false,
        tags: Vec::new(),
        rust_typename: None,
        directive_invocations: Vec::new(),
        requires_scopes: Vec::new(),
    };
    registry.types.insert(name.to_owned(), ty);
}
