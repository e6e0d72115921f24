//! `devices`: a device as it is registered now.

use sea_orm::entity::prelude::*;

/// A device as it is registered now.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "devices")]
pub struct Model {
    /// Key of the device.
    #[sea_orm(primary_key, auto_increment = false)]
    pub device_key: i64,
    /// Id that its operator gave it.
    pub device_id: String,
    /// Key of its site.
    pub site_key: i64,
    /// Name for people.
    pub name: Option<String>,
    /// What it is.
    pub device_type: String,
    /// Model.
    pub model: Option<String>,
    /// Version of its firmware.
    pub firmware: Option<String>,
    /// Operating system.
    pub os: Option<String>,
    /// Labels, as a JSON list.
    pub tags: Option<String>,
    /// Whether it is in use.
    pub lifecycle: String,
    /// When this was said: microseconds since 1970, UTC.
    pub registered_at: i64,
    /// The registration.
    pub position: i64,
}

/// What a device is read together with.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {
    /// What is newest of it.
    #[sea_orm(
        belongs_to = "super::device_status::Entity",
        from = "Column::DeviceKey",
        to = "super::device_status::Column::DeviceKey"
    )]
    Status,
}

impl Related<super::device_status::Entity> for Entity {
    fn to() -> RelationDef {
        Relation::Status.def()
    }
}

impl ActiveModelBehavior for ActiveModel {}
