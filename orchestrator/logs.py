"""Logs: structlog events with stable names and ids, JSON in production, readable in a terminal.

Every event carries what was bound for the request (``request_id``, ``order_id`` …). Records of the
standard library's loggers (uvicorn, SQLAlchemy) take the same way out.
"""

import logging
import sys
from typing import TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from orchestrator.settings import Settings

__all__ = ["SECRET_WORDS", "configure", "logger"]

SECRET_WORDS = ("secret", "password", "authorization", "token")
"""A field whose name holds one of these is never written out."""

logger = structlog.stdlib.get_logger


def configure(settings: Settings, stream: TextIO | None = None) -> None:
    """Set logging up for this process; may be called again (the last call counts)."""
    stream = sys.stderr if stream is None else stream
    as_json = settings.log_json if settings.log_json is not None else not stream.isatty()
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
        _without_secrets,
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *_written_out(as_json, stream),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.log_level.upper())
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        foreign = logging.getLogger(name)
        foreign.handlers.clear()
        foreign.propagate = True
    for name in ("uvicorn.error", "alembic", "websockets"):
        # one line per connection or migration step says nothing that ours do not
        logging.getLogger(name).setLevel(logging.WARNING)


def _written_out(as_json: bool, stream: TextIO) -> list[Processor]:
    if as_json:
        return [
            structlog.processors.ExceptionRenderer(
                structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
            ),
            structlog.processors.JSONRenderer(),
        ]
    # Local variables hold tokens and phone numbers: tracebacks are shown without them.
    return [
        structlog.dev.ConsoleRenderer(
            colors=stream.isatty(),
            timestamp_key="at",
            exception_formatter=structlog.dev.plain_traceback,
        )
    ]


def _without_secrets(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    for name in event:
        if any(word in name.lower() for word in SECRET_WORDS):
            event[name] = "***"
    return event
