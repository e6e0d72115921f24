//! Sets of words that fields take, each word with what it means.

use super::EnumSpec;

/// Values of `DeviceType`.
pub static DEVICE_TYPE: EnumSpec = EnumSpec {
    name: "DeviceType",
    description: "What a device is.",
    values: &[
        ("POS_TERMINAL", "A till."),
        ("IOT_SENSOR", "A sensor."),
        ("GATEWAY", "A gateway that other devices report through."),
        ("INDUSTRIAL_CONTROLLER", "An industrial controller."),
        ("UNKNOWN", "Not known."),
    ],
};

/// Values of `DeviceLifecycle`.
pub static DEVICE_LIFECYCLE: EnumSpec = EnumSpec {
    name: "DeviceLifecycle",
    description: "Whether a device is in use.",
    values: &[
        ("ACTIVE", "In use."),
        ("SUSPENDED", "Out of use for a time; raises no alerts."),
        ("RETIRED", "Taken out of use for good; raises no alerts."),
    ],
};

/// Values of `JobScope`.
pub static JOB_SCOPE: EnumSpec = EnumSpec {
    name: "JobScope",
    description: "What an outcome speaks of.",
    values: &[
        ("DEVICE", "The outcome on one device."),
        ("JOB", "The outcome of the job as a whole, with its counts."),
    ],
};

/// Values of `JobStatus`.
pub static JOB_STATUS: EnumSpec = EnumSpec {
    name: "JobStatus",
    description: "How a job ended.",
    values: &[
        ("COMPLETED", "It did what it was to do."),
        ("FAILED", "The device tried and failed."),
        ("ERROR", "It could not be run."),
        ("TIMEOUT", "No answer came in time."),
        ("CANCELLED", "It was cancelled before it ended."),
    ],
};

/// Values of `DeviceState`.
pub static DEVICE_STATE: EnumSpec = EnumSpec {
    name: "DeviceState",
    description: "State of a device.",
    values: &[
        ("ONLINE", "Reports and works."),
        ("OFFLINE", "Silent."),
        ("ERROR", "Reports a fault."),
        ("MAINTENANCE", "Being worked on."),
        ("UNKNOWN", "Not known."),
    ],
};

/// Values of `ErrorCategory`.
pub static ERROR_CATEGORY: EnumSpec = EnumSpec {
    name: "ErrorCategory",
    description: "Where something went wrong.",
    values: &[
        ("API", "In an API of ours."),
        ("DATABASE", "In a database."),
        ("EXTERNAL_SERVICE", "In a service of somebody else."),
        ("VALIDATION", "Bad input."),
        ("DEVICE", "On a device."),
        ("SYSTEM", "In an operating system or a server."),
    ],
};

/// Values of `ErrorSeverity`.
pub static ERROR_SEVERITY: EnumSpec = EnumSpec {
    name: "ErrorSeverity",
    description: "How bad an error is.",
    values: &[
        ("CRITICAL", "Somebody must act now."),
        ("ERROR", "Something failed."),
        ("WARNING", "Something was coped with."),
        ("INFO", "Worth knowing."),
    ],
};

/// Values of `ErrorGroupDecision`.
pub static ERROR_GROUP_CHANGE: EnumSpec = EnumSpec {
    name: "ErrorGroupDecision",
    description: "What was decided about a group of errors.",
    values: &[
        (
            "RESOLVED",
            "It was mended: an error of it that comes later reopens it.",
        ),
        ("IGNORED", "It is of no interest, whatever comes."),
        ("MERGED", "It is one group with another from now on."),
        ("REOPENED", "It counts again."),
    ],
};

/// Values of `ErrorGroupStatus`.
pub static ERROR_GROUP_STATUS: EnumSpec = EnumSpec {
    name: "ErrorGroupStatus",
    description: "What holds of a group of errors.",
    values: &[
        (
            "OPEN",
            "It counts: nobody decided otherwise, or it came back after it was resolved.",
        ),
        ("RESOLVED", "It was mended, and no error of it came since."),
        ("IGNORED", "It is of no interest, whatever comes."),
    ],
};

/// Values of `ConfigurationEntity`.
pub static CONFIGURATION_ENTITY: EnumSpec = EnumSpec {
    name: "ConfigurationEntity",
    description: "What can be configured.",
    values: &[
        ("DEVICE", "One device."),
        ("SITE", "One site."),
        ("SYSTEM", "The whole system."),
    ],
};

/// Values of `ConfigurationChangeType`.
pub static CONFIGURATION_CHANGE_TYPE: EnumSpec = EnumSpec {
    name: "ConfigurationChangeType",
    description: "How a change of configuration came about.",
    values: &[
        ("MANUAL", "A person changed it."),
        ("AUTOMATED", "A program changed it."),
        ("RECOMMENDED", "A person followed a recommendation."),
    ],
};

/// Values of `EvidencePhase`.
pub static EVIDENCE_PHASE: EnumSpec = EnumSpec {
    name: "EvidencePhase",
    description: "Which hour around a change.",
    values: &[
        (
            "BEFORE",
            "The hour before, as it was known at the change: what comes late does not change it.",
        ),
        (
            "AFTER",
            "The hour after, as it was known when it had passed.",
        ),
    ],
};

/// Values of `DayOfWeek`.
pub static DAY_OF_WEEK: EnumSpec = EnumSpec {
    name: "DayOfWeek",
    description: "Day of the week.",
    values: &[
        ("MONDAY", "Monday."),
        ("TUESDAY", "Tuesday."),
        ("WEDNESDAY", "Wednesday."),
        ("THURSDAY", "Thursday."),
        ("FRIDAY", "Friday."),
        ("SATURDAY", "Saturday."),
        ("SUNDAY", "Sunday."),
    ],
};

/// Values of `ActivityType`.
pub static ACTIVITY_TYPE: EnumSpec = EnumSpec {
    name: "ActivityType",
    description: "What a user did.",
    values: &[
        ("PAGE_VIEW", "A page was shown."),
        ("BUTTON_CLICK", "A button was pressed."),
        ("SEARCH_QUERY", "Something was searched for."),
        ("FORM_SUBMIT", "A form was sent."),
        ("OTHER", "Something else, told by `name`."),
    ],
};

/// Values of `HttpMethod`.
pub static HTTP_METHOD: EnumSpec = EnumSpec {
    name: "HttpMethod",
    description: "HTTP method.",
    values: &[
        ("GET", "GET."),
        ("HEAD", "HEAD."),
        ("POST", "POST."),
        ("PUT", "PUT."),
        ("PATCH", "PATCH."),
        ("DELETE", "DELETE."),
        ("OPTIONS", "OPTIONS."),
        ("CONNECT", "CONNECT."),
        ("TRACE", "TRACE."),
    ],
};

/// Values of `JobState`.
pub static JOB_STATE: EnumSpec = EnumSpec {
    name: "JobState",
    description: "State of a job.",
    values: &[
        (
            "SCHEDULED",
            "Waits for its time: an instant, a maintenance window, or, when it recurs, the next time.",
        ),
        ("QUEUED", "Is due, and no device has been given it yet."),
        ("RUNNING", "At least one device has been given it."),
        (
            "PAUSED",
            "No further device is given it; those that have it go on.",
        ),
        ("COMPLETED", "All devices are done and none failed."),
        (
            "FAILED",
            "All devices are done and at least one failed, or so many failed that the rest was stopped.",
        ),
        ("CANCELLED", "Stopped before all devices were done."),
    ],
};

/// Values of `JobStep`.
pub static JOB_STEP: EnumSpec = EnumSpec {
    name: "JobStep",
    description: "How far a device of a job is that has not ended it.",
    values: &[
        ("WAITING", "Is yet to be given it, or to be given it again."),
        ("ISSUED", "Was given it and has not acknowledged it."),
        ("ACKNOWLEDGED", "Works on it."),
    ],
};

/// Values of `JobType`, of which commands make jobs.
pub static JOB_TYPE: EnumSpec = EnumSpec {
    name: "JobType",
    description: "What a job has devices do.",
    values: &[
        (
            "UPDATE_POS_CONFIG",
            "Take over values of their configuration.",
        ),
        ("FIRMWARE_UPDATE", "Install a version of their firmware."),
        ("RESTART", "Restart."),
        ("HEALTH_CHECK", "Check themselves and tell what they found."),
        ("SECURITY_SCAN", "Scan themselves for what is not secure."),
        ("LOG_COLLECTION", "Give the newest lines of their logs."),
        ("CUSTOM", "Something with a name of its own."),
    ],
};

/// Values of `CommandState`.
pub static COMMAND_STATE: EnumSpec = EnumSpec {
    name: "CommandState",
    description: "State of a command to a device.",
    values: &[
        ("ISSUED", "Waits for the device."),
        ("ACKNOWLEDGED", "The device has it and works on it."),
        ("COMPLETED", "The device did it."),
        ("FAILED", "The device tried and failed."),
        ("ERROR", "The device cannot do it."),
        (
            "TIMEOUT",
            "The device did not take it, or did not end it, in time.",
        ),
        ("CANCELLED", "It was taken back before it ended."),
    ],
};

/// Values of `AuditAction`.
pub static AUDIT_ACTION: EnumSpec = EnumSpec {
    name: "AuditAction",
    description: "What somebody did.",
    values: &[
        ("KEY_CREATED", "An access key was made."),
        ("KEY_REVOKED", "An access key was revoked."),
        ("COMMAND", "A mutation was executed."),
        ("SIGN_IN", "Somebody was to prove who they are."),
    ],
};

/// Values of `AuditOutcome`.
pub static AUDIT_OUTCOME: EnumSpec = EnumSpec {
    name: "AuditOutcome",
    description: "Whether something was done.",
    values: &[("DONE", "It was done."), ("REFUSED", "It was refused.")],
};

/// Values of `AlertCondition`.
pub static ALERT_CONDITION: EnumSpec = EnumSpec {
    name: "AlertCondition",
    description: "What a rule watches for.",
    values: &[
        (
            "METRIC",
            "A measure of a device is beyond a threshold for a time.",
        ),
        ("STATE", "A device is in a state for a time."),
        ("ERROR_RATE", "Errors come more often than they may."),
        (
            "COLLECTION_GAP",
            "A device, or all of a site, has not been heard of for longer than it may.",
        ),
        ("JOB_FAILURE", "A job failed."),
        ("FAILURE_RISK", "A device is likely to fail."),
        ("HEALTH", "A device is not well."),
        ("ANOMALY", "Something about a device is unusual."),
    ],
};

/// Values of `AlertState`.
pub static ALERT_STATE: EnumSpec = EnumSpec {
    name: "AlertState",
    description: "State of an alert.",
    values: &[
        ("OPEN", "What it is for lasts, and nobody has taken it up."),
        (
            "ACKNOWLEDGED",
            "What it is for lasts, and somebody has taken it up.",
        ),
        (
            "SILENCED",
            "What it is for lasts, and nobody is told of it for a time.",
        ),
        (
            "RESOLVED",
            "What it was for is over, or somebody has closed it.",
        ),
    ],
};

/// Values of `AlertSeverity`.
pub static ALERT_SEVERITY: EnumSpec = EnumSpec {
    name: "AlertSeverity",
    description: "How bad it is.",
    values: &[
        ("CRITICAL", "Somebody must act now."),
        ("WARNING", "Somebody should look at it today."),
        ("INFO", "Worth knowing."),
    ],
};

/// Values of `AlertRuleState`.
pub static ALERT_RULE_STATE: EnumSpec = EnumSpec {
    name: "AlertRuleState",
    description: "Whether a rule raises alerts.",
    values: &[
        ("ENABLED", "It raises alerts."),
        ("DISABLED", "It raises none, and is kept."),
        ("DELETED", "It is gone."),
    ],
};
