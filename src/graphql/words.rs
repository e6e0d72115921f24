//! Words of the kinds' sets as input of mutations and filters, and words of enums that are made
//! elsewhere.

use std::borrow::Cow;
use std::marker::PhantomData;

use async_graphql::parser::types::Field;
use async_graphql::registry::Registry;
use async_graphql::{
    ContextSelectionSet, InputType, InputValueError, InputValueResult, Name, OutputType,
    Positioned, ServerResult, Value,
};

use super::meta::enumeration;
use crate::kinds::{EnumSpec, enums};

/// A set of words.
pub(super) trait Set: Send + Sync + 'static {
    fn spec() -> &'static EnumSpec;
}

/// A word of a set.
#[derive(Debug)]
pub(super) struct Word<S>(String, PhantomData<fn() -> S>);

impl<S> Clone for Word<S> {
    fn clone(&self) -> Self {
        Self(self.0.clone(), PhantomData)
    }
}

impl<S> Word<S> {
    /// A word that is known to be of the set.
    pub(super) fn known(word: &str) -> Self {
        Self(word.to_owned(), PhantomData)
    }

    /// The word.
    pub(super) fn word(&self) -> String {
        self.0.clone()
    }
}

impl<S: Set> InputType for Word<S> {
    type RawValueType = Self;

    fn type_name() -> Cow<'static, str> {
        S::spec().name.into()
    }

    fn create_type_info(registry: &mut Registry) -> String {
        let spec = S::spec();
        enumeration(registry, spec.name, spec.description, spec.values);
        <Self as InputType>::qualified_type_name()
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "an enum of a library, whose other values are one case"
    )]
    fn parse(value: Option<Value>) -> InputValueResult<Self> {
        match value.unwrap_or_default() {
            Value::Enum(name) => Ok(Self(name.to_string(), PhantomData)),
            Value::String(name) => Ok(Self(name, PhantomData)),
            value => Err(InputValueError::expected_type(value)),
        }
    }

    fn to_value(&self) -> Value {
        Value::Enum(Name::new(&self.0))
    }

    fn as_raw_value(&self) -> Option<&Self::RawValueType> {
        Some(self)
    }
}

impl<S: Set> OutputType for Word<S> {
    fn type_name() -> Cow<'static, str> {
        <Self as InputType>::type_name()
    }

    fn create_type_info(registry: &mut Registry) -> String {
        <Self as InputType>::create_type_info(registry)
    }

    async fn resolve(
        &self,
        _ctx: &ContextSelectionSet<'_>,
        _field: &Positioned<Field>,
    ) -> ServerResult<Value> {
        Ok(InputType::to_value(self))
    }
}

/// An enum whose type is made elsewhere.
pub(super) trait Made: Send + Sync + 'static {
    /// Its name.
    const NAME: &'static str;
}

/// The kinds of events.
#[derive(Debug)]
pub(super) enum EventKinds {}

impl Made for EventKinds {
    const NAME: &'static str = "EventKind";
}

/// Why an event was not recorded.
#[derive(Debug)]
pub(super) enum OutcomeCodes {}

impl Made for OutcomeCodes {
    const NAME: &'static str = "OutcomeCode";
}

/// Where events come from.
#[derive(Debug)]
pub(super) enum Provenances {}

impl Made for Provenances {
    const NAME: &'static str = "Provenance";
}

/// A word of an enum that is made elsewhere.
#[derive(Debug)]
pub(super) struct Shown<M>(Name, PhantomData<fn() -> M>);

impl<M> Shown<M> {
    /// A word, which must be one of the enum.
    pub(super) fn new(word: &str) -> Self {
        Self(Name::new(word), PhantomData)
    }
}

impl<M> Shown<M> {
    /// The word.
    pub(super) fn word(&self) -> String {
        self.0.to_string()
    }
}

impl<M: Made> InputType for Shown<M> {
    type RawValueType = Self;

    fn type_name() -> Cow<'static, str> {
        M::NAME.into()
    }

    fn create_type_info(_registry: &mut Registry) -> String {
        <Self as InputType>::qualified_type_name()
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "an enum of a library, whose other values are one case"
    )]
    fn parse(value: Option<Value>) -> InputValueResult<Self> {
        match value.unwrap_or_default() {
            Value::Enum(name) => Ok(Self(name, PhantomData)),
            Value::String(name) => Ok(Self::new(&name)),
            value => Err(InputValueError::expected_type(value)),
        }
    }

    fn to_value(&self) -> Value {
        Value::Enum(self.0.clone())
    }

    fn as_raw_value(&self) -> Option<&Self::RawValueType> {
        Some(self)
    }
}

impl<M: Made> OutputType for Shown<M> {
    fn type_name() -> Cow<'static, str> {
        M::NAME.into()
    }

    fn create_type_info(_registry: &mut Registry) -> String {
        <Self as OutputType>::qualified_type_name()
    }

    async fn resolve(
        &self,
        _ctx: &ContextSelectionSet<'_>,
        _field: &Positioned<Field>,
    ) -> ServerResult<Value> {
        Ok(Value::Enum(self.0.clone()))
    }
}

macro_rules! sets {
    ($($name:ident = $spec:ident;)*) => {$(
        /// The set of this name.
        #[derive(Debug)]
        pub(super) enum $name {}

        impl Set for $name {
            fn spec() -> &'static EnumSpec {
                &enums::$spec
            }
        }
    )*};
}

sets! {
    DaysOfWeek = DAY_OF_WEEK;
    DeviceStates = DEVICE_STATE;
    DeviceTypes = DEVICE_TYPE;
    DeviceLifecycles = DEVICE_LIFECYCLE;
    JobScopes = JOB_SCOPE;
    JobStates = JOB_STATE;
    JobStatuses = JOB_STATUS;
    JobSteps = JOB_STEP;
    JobTypes = JOB_TYPE;
    CommandStates = COMMAND_STATE;
    ConfigurationEntities = CONFIGURATION_ENTITY;
    AlertConditions = ALERT_CONDITION;
    AlertStates = ALERT_STATE;
    AlertSeverities = ALERT_SEVERITY;
    ErrorSeverities = ERROR_SEVERITY;
    ErrorCategories = ERROR_CATEGORY;
    ErrorGroupDecisions = ERROR_GROUP_CHANGE;
    ErrorGroupStatuses = ERROR_GROUP_STATUS;
    ConfigurationChangeTypes = CONFIGURATION_CHANGE_TYPE;
}
