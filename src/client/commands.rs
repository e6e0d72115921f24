//! The protocol of devices over the public API: which commands are open, that one is taken, and how it
//! ended. Whoever does them is for the caller.

use serde::Deserialize;
use serde_json::{Value, json};

use super::answer::CallError;
use super::api::Client;

const PENDING: &str = "query Pending($device: ID, $first: Int) { pendingCommands(deviceId: $device, \
    first: $first) { commandId jobId jobType deviceId payload } }";
const ACKNOWLEDGE: &str = "mutation Acknowledge($id: ID!) { acknowledgeCommand(input: { \
    commandId: $id }) { userErrors { code } } }";
const COMPLETE: &str = "mutation Complete($input: CompleteCommandInput!) { \
    completeCommand(input: $input) { userErrors { code message } } }";

/// A command as the server tells it.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Command {
    /// Its id.
    #[serde(rename = "commandId")]
    pub id: String,
    /// The job that it is part of.
    pub job_id: String,
    /// What is to be done.
    pub job_type: String,
    /// The device that is to do it.
    pub device_id: String,
    /// What it is to be done with.
    pub payload: Option<Value>,
}

impl Client {
    /// The commands that are open: to a device, or to all within reach; so many at most.
    ///
    /// # Errors
    /// When no answer came, or one with errors.
    pub async fn pending_commands(
        &self,
        device: Option<&str>,
        first: u16,
    ) -> Result<Vec<Command>, CallError> {
        let asked = json!({ "device": device, "first": first });
        let data = self.ask(PENDING, &asked).await?;
        Ok(Vec::deserialize(&data["pendingCommands"]).unwrap_or_default())
    }

    /// Tells that a command is taken; false when it is over.
    ///
    /// # Errors
    /// When no answer came, or one with errors.
    pub async fn acknowledge_command(&self, id: &str) -> Result<bool, CallError> {
        let told = self.ask(ACKNOWLEDGE, &json!({ "id": id })).await?;
        Ok(told["acknowledgeCommand"]["userErrors"] == json!([]))
    }

    /// Tells how a command ended, by the fields of `CompleteCommandInput`; why that does not count, if it
    /// does not.
    ///
    /// # Errors
    /// When no answer came, or one with errors.
    pub async fn complete_command(&self, input: &Value) -> Result<Option<Value>, CallError> {
        let mut told = self.ask(COMPLETE, &json!({ "input": input })).await?;
        let refused = told["completeCommand"]["userErrors"].take();
        Ok(Some(refused).filter(|refused| *refused != json!([])))
    }
}
