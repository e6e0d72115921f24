"""Python's `gql` against a running server, over HTTP and over a socket.

    python python_gql.py http://127.0.0.1:8080/graphql ws://127.0.0.1:8080/graphql '{}'

The last argument is what is sent along: headers as a JSON object. Ends with 0 if all is as expected.
"""

import asyncio
import json
import sys
from datetime import datetime, timezone

from gql import Client, gql
from gql.transport.aiohttp import AIOHTTPTransport
from gql.transport.aiohttp_websockets import AIOHTTPWebsocketsTransport
from gql.transport.exceptions import TransportQueryError
from gql.transport.websockets import WebsocketsTransport
from graphql import GraphQLError

HTTP, SOCKET, HEADERS = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
ANSWER_SECONDS = 30

QUERY = gql(
    """query Newest($first: Int!, $filter: ErrorLogFilter) {
      errorLogs(first: $first, filter: $filter) { liveCursor nodes { errorMessage occurredAt } }
    }"""
)
RECORD = gql(
    """mutation Record($input: RecordEventsInput!) {
      recordEvents(input: $input) { outcomes { status code field } }
    }"""
)
FOLLOW = gql("subscription Follow($after: String) { errorLogs(after: $after) { errorMessage } }")
UNKNOWN = gql("{ nothing }")


def expect(given, expected):
    if given != expected:
        raise AssertionError(f"{given!r} instead of {expected!r}")


async def code_of(awaitable):
    """The code of the error that an operation ends with, as this client shows it."""
    try:
        await awaitable
    except TransportQueryError as refused:
        return refused.errors[0]["extensions"]["code"]
    raise AssertionError("it is not refused")


async def record(session, *messages):
    error = {"category": "API", "severity": "INFO"}
    events = [{"errorLog": {**error, "errorMessage": message}} for message in messages]
    answer = await session.execute(RECORD, variable_values={"input": {"events": events}})
    return answer["recordEvents"]["outcomes"]


async def take(session, after, count):
    messages = []
    async for item in session.subscribe(FOLLOW, variable_values={"after": after}):
        messages.append(item["errorLogs"]["errorMessage"])
        if len(messages) == count:
            return messages


async def over_http(session):
    """The schema is fetched, and the client checks against it what it sends."""
    try:
        await session.execute(UNKNOWN)
        raise AssertionError("it is not refused by the client")
    except GraphQLError as refused:
        expect("Cannot query field 'nothing'" in refused.message, True)
    outcomes = await record(session, "by gql", "")
    expect([outcome["status"] for outcome in outcomes], ["RECORDED", "REJECTED"])
    expect(outcomes[1]["field"], "errorMessage")
    wanted = {"errorMessage": {"startsWith": "by gql"}, "severity": {"in": ["INFO"]}}
    answer = await session.execute(QUERY, variable_values={"first": 1, "filter": wanted})
    (node,) = answer["errorLogs"]["nodes"]
    expect(node["errorMessage"], "by gql")
    occurred = datetime.fromisoformat(node["occurredAt"].replace("Z", "+00:00"))
    expect(abs((datetime.now(timezone.utc) - occurred).total_seconds()) < 60, True)
    too_many = session.execute(QUERY, variable_values={"first": 1001})
    expect(await code_of(too_many), "BAD_INPUT")
    return answer["errorLogs"]["liveCursor"]


async def over_socket(session, after):
    live = asyncio.create_task(take(session, after, 2))
    await record(session, "first", "second")
    expect(await live, ["first", "second"])
    expect(await take(session, after, 1), ["first"])
    expect(await code_of(take(session, "nowhere", 1)), "BAD_INPUT")
    expect(await code_of(session.execute(UNKNOWN)), "VALIDATION_FAILED")
    answer = await session.execute(QUERY, variable_values={"first": 0})
    return answer["errorLogs"]["liveCursor"]


async def main():
    http = AIOHTTPTransport(url=HTTP, headers=HEADERS)
    async with Client(transport=http, fetch_schema_from_transport=True) as session:
        after = await over_http(session)
    # both read the name of the protocol that is answered only under a header in the case that they
    # write, and would speak the older protocol
    protocols = [WebsocketsTransport.GRAPHQLWS_SUBPROTOCOL]
    greeting = {"headers": HEADERS, "init_payload": HEADERS, "subprotocols": protocols}
    for transport in (WebsocketsTransport, AIOHTTPWebsocketsTransport):
        async with Client(transport=transport(url=SOCKET, **greeting)) as session:
            after = await over_socket(session, after)


asyncio.run(asyncio.wait_for(main(), ANSWER_SECONDS))
