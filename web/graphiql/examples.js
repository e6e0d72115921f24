// The operations GraphiQL opens with, one tab each. Data only: `query` starts with a line of
// comment that says what it does and names its operation; `variables` is optional.
// The first has no variables, because GraphiQL 4 does not show those of the first tab.

export const examples = [
  {
    query: `# The fleet now: sites, their devices, how each does.
query FleetOverview {
  sites(first: 10) {
    totalCount
    nodes {
      siteId
      name
      timeZone
      devices(first: 20) {
        totalCount
        nodes {
          deviceId
          name
          deviceType
          currentState
          latestMetrics {
            occurredAt
            cpuPercent
            memoryPercent
            networkLatencyMs
            transactionCount
            transactionVolume
          }
        }
      }
    }
  }
}
`,
  },
  {
    query: `# What the tills measured of themselves, page by page.
# For the next page put endCursor into the variable "after".
# Filters take gt, gte, lt, lte and in; and, or, not combine them.
query DeviceMetrics($first: Int, $after: String) {
  deviceMetrics(first: $first, after: $after, filter: { cpuPercent: { gte: 1, lt: 100 } }) {
    totalCount
    pageInfo {
      hasNextPage
      endCursor
    }
    nodes {
      position
      occurredAt
      recordedAt
      provenance
      deviceId
      device {
        name
      }
      cpuPercent
      memoryPercent
      diskPercent
      networkLatencyMs
      transactionCount
      transactionVolume
      errorRatePercent
    }
  }
}
`,
    variables: { first: 20, after: null },
  },
  {
    query: `# How jobs ended on the devices, and why they failed.
query JobOutcomes {
  jobOutcomes(first: 20, filter: { status: { in: [COMPLETED, FAILED, ERROR, TIMEOUT] } }) {
    totalCount
    nodes {
      position
      occurredAt
      provenance
      jobId
      jobType
      status
      durationMs
      deviceId
      device {
        name
      }
      errorCode
      errorMessage
      retryCount
      initiatedBy
    }
  }
}
`,
  },
  {
    query: `# When devices went offline, failed or came back.
query DeviceStateHistory {
  deviceStateHistory(first: 20) {
    totalCount
    edges {
      cursor
      node {
        position
        occurredAt
        provenance
        deviceId
        device {
          name
        }
        previousState
        newState
        changedBy
        reason
        responseTimeMs
      }
    }
  }
}
`,
  },
  {
    query: `# Which errors were reported, all but those of severity INFO.
query ErrorLogs {
  errorLogs(first: 20, filter: { severity: { in: [CRITICAL, ERROR, WARNING] } }) {
    totalCount
    nodes {
      position
      occurredAt
      provenance
      category
      severity
      errorCode
      errorMessage
      deviceId
      device {
        name
      }
      endpoint
    }
  }
}
`,
  },
  {
    query: `# Who changed which setting, from what to what.
query ConfigurationHistory {
  configurationHistory(first: 20) {
    totalCount
    nodes {
      position
      occurredAt
      provenance
      entityType
      entityId
      parameterName
      oldValue
      newValue
      changedBy
      reason
      changeType
    }
  }
}
`,
  },
  {
    query: `# When sites are open and busy, and when jobs may disturb.
query SiteOperatingSchedules {
  siteOperatingSchedules(first: 20) {
    totalCount
    nodes {
      position
      occurredAt
      provenance
      siteId
      dayOfWeek
      date
      openTime
      closeTime
      isClosed
      peakHours {
        start
        end
      }
      maintenanceWindows {
        start
        end
      }
      expectedTransactions
      notes
    }
  }
}
`,
  },
  {
    query: `# What people did in the console.
query UserActivity {
  userActivity(first: 20) {
    totalCount
    nodes {
      position
      occurredAt
      provenance
      userId
      sessionId
      activityType
      name
      pageUrl
      elementId
      searchQuery
      durationMs
    }
  }
}
`,
  },
  {
    query: `# Which requests the API answered, how, and how fast.
query ApiRequestLogs {
  apiRequestLogs(first: 20, filter: { statusCode: { gte: 200 } }) {
    totalCount
    nodes {
      position
      occurredAt
      provenance
      endpoint
      method
      statusCode
      responseTimeMs
      operationName
      userId
      requestBytes
      responseBytes
      errorMessage
    }
  }
}
`,
  },
  {
    query: `# Records one measurement of a simulated till.
# Run it again: it is a DUPLICATE, stored once.
mutation RecordDeviceMetrics($input: RecordEventsInput!) {
  recordEvents(input: $input) {
    outcomes {
      index
      status
      position
      cursor
      code
      field
      message
    }
  }
}
`,
    variables: {
      input: {
        events: [
          {
            deviceMetrics: {
              deviceId: 'pos-01-01',
              occurredAt: new Date().toISOString(),
              provenance: 'SIMULATED',
              cpuPercent: 41.5,
              memoryPercent: 63.2,
              diskPercent: 48,
              networkLatencyMs: 23.4,
              transactionCount: 118,
              transactionVolume: '2391.40',
              errorRatePercent: 0.8,
            },
          },
        ],
      },
    },
  },
  {
    query: `# Shows each measurement as it is recorded.
# To resume after an item, put its cursor into "after".
subscription WatchDeviceMetrics($after: String) {
  deviceMetrics(after: $after) {
    cursor
    position
    occurredAt
    provenance
    deviceId
    device {
      name
    }
    cpuPercent
    memoryPercent
    networkLatencyMs
    transactionCount
  }
}
`,
    variables: { after: null },
  },
  {
    query: `# Shows every event of every kind as it is recorded.
subscription WatchEvents($after: String) {
  events(after: $after) {
    cursor
    __typename
    position
    occurredAt
    provenance
    ... on DeviceMetrics {
      deviceId
      cpuPercent
    }
    ... on DeviceStateChange {
      deviceId
      previousState
      newState
    }
    ... on JobOutcome {
      jobId
      status
    }
    ... on ErrorLog {
      severity
      errorMessage
    }
  }
}
`,
    variables: { after: null },
  },
];
