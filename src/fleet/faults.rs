//! What the error log of a simulated fleet says.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use uuid::Uuid;

use super::wire::event;

/// One kind of error, as it is logged each time it happens.
#[derive(Debug)]
pub(super) struct Fault {
    category: &'static str,
    severity: &'static str,
    pub(super) code: &'static str,
    pub(super) message: &'static str,
    trace: Option<&'static str>,
}

const fn fault(
    category: &'static str,
    severity: &'static str,
    code: &'static str,
    message: &'static str,
) -> Fault {
    Fault {
        category,
        severity,
        code,
        message,
        trace: None,
    }
}

pub(super) const UNREACHABLE: Fault = fault(
    "DEVICE",
    "CRITICAL",
    "DEVICE_UNREACHABLE",
    "The device does not answer the health check",
);
pub(super) const LINK_LOST: Fault = fault(
    "SYSTEM",
    "WARNING",
    "NETWORK_LINK_DOWN",
    "The network link was down; sales of that time were kept and are being sent now",
);
pub(super) const POWER_LOST: Fault = fault(
    "SYSTEM",
    "ERROR",
    "UNCLEAN_SHUTDOWN",
    "The device started after it had lost power",
);
pub(super) const PAYMENT: Fault = Fault {
    trace: Some(
        "PaymentTimeout: no answer from acquirer within 8000 ms\n  \
         at AcquirerClient.authorize (acquirer.ts:212)\n  \
         at PaymentService.pay (payment.ts:88)\n  \
         at Checkout.complete (checkout.ts:141)",
    ),
    ..fault(
        "EXTERNAL_SERVICE",
        "CRITICAL",
        "PAYMENT_GATEWAY_TIMEOUT",
        "The payment service does not answer: card payments fail",
    )
};
pub(super) const PRINTER: Fault = fault(
    "DEVICE",
    "ERROR",
    "PRINTER_OFFLINE",
    "The receipt printer does not answer",
);
pub(super) const SCANNER: Fault = fault(
    "DEVICE",
    "ERROR",
    "SCANNER_DISCONNECTED",
    "The barcode scanner was disconnected",
);
pub(super) const SLOW_NETWORK: Fault = fault(
    "SYSTEM",
    "WARNING",
    "NETWORK_DEGRADED",
    "Round trips to the back office take far longer than usual",
);
pub(super) const BUSY: Fault = fault(
    "DEVICE",
    "WARNING",
    "CPU_SATURATED",
    "A process keeps the processor busy",
);
pub(super) const CRASH: Fault = Fault {
    trace: Some(
        "OutOfMemoryError: heap limit reached\n  \
         at ReceiptCache.put (receipt_cache.ts:57)\n  \
         at ReceiptService.render (receipts.ts:133)\n  \
         at Checkout.complete (checkout.ts:155)",
    ),
    ..fault(
        "SYSTEM",
        "CRITICAL",
        "APPLICATION_CRASH",
        "The till application ended unexpectedly and is started again",
    )
};
pub(super) const MEMORY: Fault = fault(
    "SYSTEM",
    "WARNING",
    "MEMORY_WATCHDOG",
    "The till application holds too much memory and is restarted",
);
pub(super) const DISK: Fault = fault(
    "SYSTEM",
    "INFO",
    "DISK_CLEANED",
    "The disk reached its limit; old logs were removed",
);
pub(super) const CLOCK: Fault = fault(
    "DEVICE",
    "WARNING",
    "CLOCK_CORRECTED",
    "The clock was off when the device started and was corrected",
);
pub(super) const API: Fault = Fault {
    trace: Some(
        "InternalError: unexpected end of stream\n  \
         at SalesRepository.save (sales.ts:77)\n  \
         at SalesController.post (sales.ts:31)",
    ),
    ..fault(
        "API",
        "ERROR",
        "HTTP_500",
        "The back office failed to answer a request",
    )
};
pub(super) const DATABASE: Fault = fault(
    "DATABASE",
    "ERROR",
    "LOCK_TIMEOUT",
    "The back office waited too long for a lock of its database",
);
pub(super) const VALIDATION: Fault = fault(
    "VALIDATION",
    "WARNING",
    "INVALID_DISCOUNT",
    "A discount code was refused because it has expired",
);

impl Fault {
    /// The log entry; `who` holds the fields that say where it happened.
    pub(super) fn log(&self, at: DateTime<Utc>, id: Uuid, who: Value) -> Value {
        let mut body = json!({
            "category": self.category,
            "severity": self.severity,
            "errorCode": self.code,
            "errorMessage": self.message,
            "stackTrace": self.trace,
        });
        if let (Some(fields), Value::Object(who)) = (body.as_object_mut(), who) {
            fields.extend(who);
        }
        event("errorLog", at, Some(id), body)
    }
}
