"""What travels between processes: batches of commands out, batches of answers back."""

from msgspec import Struct
from msgspec.msgpack import Decoder, Encoder

from domain.errors import Problem

__all__ = ["Answers", "Bundle", "Item", "decode_answers", "decode_bundle", "encode_wire"]


class Item(Struct, array_like=True, gc=False):
    """One command for an entity. ``token`` is the sender's; 0 wants no answer.

    ``command_id`` empty: not deduplicated. ``sender`` is the entity that sent it, "" the outside.
    """

    token: int
    to: str
    command_id: str
    sender: str
    body: bytes


class Bundle(Struct, array_like=True, gc=False):
    """A batch from one peer. Ray's async actors promise no order: ``sequence`` restores it."""

    peer: str
    sequence: int
    items: list[Item]


class Answers(Struct, array_like=True, gc=False):
    """Replies that are ready for a peer, by token: encoded replies, or Problems."""

    replies: list[tuple[int, bytes]]
    problems: list[tuple[int, Problem]]


_encoder = Encoder()
encode_wire = _encoder.encode
decode_bundle = Decoder(Bundle).decode
decode_answers = Decoder(Answers).decode
